//go:build !small

package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"airplant/image"
	"airplant/lifecycle"
)

type commitCmd struct {
	Author    string   `short:"a" help:"Who made it." placeholder:"NAME"`
	Change    []string `short:"c" sep:"none" help:"Apply an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR." placeholder:"INSTRUCTION"`
	Format    string   `short:"f" help:"Kind of the manifest." enum:"oci,docker" default:"oci"`
	Message   string   `short:"m" help:"A comment, for the history." placeholder:"TEXT"`
	Pause     bool     `short:"p" help:"Pause a running container meanwhile." default:"true" negatable:""`
	Quiet     bool     `short:"q" hidden:""`
	Timestamp string   `help:"Time of creation, in seconds since 1970; by default SOURCE_DATE_EPOCH, or now." placeholder:"SECONDS"`
	Container string   `arg:"" help:"Name or id of a container."`
	Image     string   `arg:"" optional:"" help:"Name for the image."`
}

func (c *commitCmd) Run(e *env) (err error) {
	h, err := e.home()
	if err != nil {
		return err
	}
	box, err := h.Find(c.Container)
	if err != nil {
		return err
	}
	if box.ImageID == "" {
		return &hinted{
			fmt.Errorf("commit %s: it was made of %s, not of an image of the store", box.Name, box.Image),
			"airplant export " + box.Name + " | airplant import - NAME",
		}
	}
	r := image.CommitRequest{
		Store: h.Data, Base: box.ImageID, Upper: filepath.Join(h.Folder(box), "upper"), MountPoints: box.MountPoints,
		Config: box.Config, Changes: c.Change, Author: c.Author, Message: c.Message, Docker: c.Format == "docker",
	}
	if box.Config != nil {
		r.Command = strings.Join(box.Config.Cmd, " ")
	}
	if r.Name, err = nameFor(c.Image); err != nil {
		return err
	}
	if r.Created, err = e.created(c.Timestamp); err != nil {
		return err
	}
	if r.OneID, err = oneID(); err != nil {
		return err
	}
	if c.Pause {
		resume, err := pause(h, box)
		if err != nil {
			return fmt.Errorf("pause %s: %w", box.Name, err)
		}
		defer func() { err = errors.Join(err, resume()) }()
	}
	return e.send("commit", r)
}

// pause stops a container that runs, and is not paused already.
func pause(h lifecycle.Home, box lifecycle.BoxRecord) (resume func() error, err error) {
	none := func() error { return nil }
	running, err := h.Running(box)
	if err != nil || !running {
		return none, err
	}
	r := &lifecycle.Runtime{Root: filepath.Join(h.Runtime, "run")}
	err = r.Pause(box.ID)
	if errors.Is(err, lifecycle.ErrState) || errors.Is(err, lifecycle.ErrNotExist) {
		return none, nil // it is paused, or ending
	}
	if err != nil {
		return none, err
	}
	return func() error { return r.Resume(box.ID) }, nil
}

// nameFor is the canonical form of a name for a new image; "" is none.
func nameFor(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	ref, err := image.ParseReference(name)
	switch {
	case err != nil:
		return "", err
	case ref.Transport != image.Registry || ref.Digest != "":
		return "", fmt.Errorf("%s: not a name that an image can be given", name)
	}
	return ref.String(), nil
}

// created is the time of creation of a new image.
func (e *env) created(seconds string) (time.Time, error) {
	if seconds == "" {
		seconds = e.getenv("SOURCE_DATE_EPOCH")
	}
	if seconds == "" {
		return time.Now().UTC(), nil
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("time of creation %q: want seconds since 1970", seconds)
	}
	return time.Unix(n, 0).UTC(), nil
}
