//go:build !small

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"airplant/image"
	"airplant/lifecycle"
)

type exportCmd struct {
	Output string `short:"o" help:"File; standard output without it." placeholder:"FILE"`
	Name   string `arg:"" help:"Name or id of a container or an image."`
}

func (c *exportCmd) Run(e *env) error {
	if f, ok := e.stdout.(*os.File); ok && (c.Output == "" || c.Output == "-") && lifecycle.IsTerminal(f) {
		return &hinted{errors.New("refused to write an archive to a terminal"), "airplant export -o FILE " + c.Name}
	}
	r, err := e.treeOf(c.Name, "")
	if err != nil {
		return err
	}
	if r.Output = c.Output; c.Output == "-" {
		r.Output = ""
	}
	return e.send("export", r)
}

type diffCmd struct {
	Format string `help:"json, or a line for each path." enum:",json" default:""`
	Name   string `arg:"" help:"Name or id of a container or an image."`
}

func (c *diffCmd) Run(e *env) error {
	r, err := e.treeOf(c.Name, c.Format)
	if err != nil {
		return err
	}
	return e.send("diff", r)
}

// treeOf finds the directories of a container, or else of an image.
func (e *env) treeOf(name, format string) (*image.TreeRequest, error) {
	h, err := e.home()
	if err != nil {
		return nil, err
	}
	r := &image.TreeRequest{Store: h.Data, Format: format}
	if r.OneID, err = oneID(); err != nil {
		return nil, err
	}
	box, err := h.Find(name)
	if err == nil {
		r.MountPoints = box.MountPoints
		r.Dirs, err = boxDirs(h, box)
		return r, err
	}
	if !errors.Is(err, lifecycle.ErrNoBox) {
		return nil, err
	}
	store, err := image.Open(h.Data)
	if err != nil {
		return nil, err
	}
	found, err := store.Find(name, nil)
	if errors.Is(err, image.ErrNotFound) {
		return nil, fmt.Errorf("no such container or image: %s", name)
	}
	if err != nil {
		return nil, err
	}
	r.Dirs = found[0].Layers
	return r, nil
}

// boxDirs are the directories that a container's root filesystem is made of.
func boxDirs(h lifecycle.Home, box lifecycle.BoxRecord) ([]string, error) {
	var dirs []string
	upper := filepath.Join(h.Folder(box), "upper")
	if _, err := os.Stat(upper); err == nil {
		dirs = append(dirs, upper)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	folder, isFolder := strings.CutPrefix(box.Image, "rootfs:")
	switch {
	case isFolder && folder == "/":
		return nil, fmt.Errorf("container %s runs on the host's own system, and its changes are not kept", box.Name)
	case isFolder:
		return append(dirs, folder), nil
	case len(dirs) == 0 && len(box.Layers) == 0:
		return nil, fmt.Errorf("container %s has no files of its own", box.Name)
	}
	return append(dirs, box.Layers...), nil
}
