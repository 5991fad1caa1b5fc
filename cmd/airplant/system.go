//go:build !small

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"airplant/image"
	"airplant/lifecycle"
	"airplant/userns"
)

type systemCmd struct {
	DF    systemDFCmd    `cmd:"" name:"df" help:"Tell what images and containers take on disk."`
	Check systemCheckCmd `cmd:"" help:"Compare all images with what was pulled."`
	Prune pruneCmd       `cmd:"" help:"Remove what no image and no container needs."`
	Reset systemResetCmd `cmd:"" help:"Remove all images and containers."`
}

type systemDFCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// diskUse is what `system df` prints.
type diskUse struct {
	image.Usage
	Containers     int   `json:"containers"`
	Running        int   `json:"running"`
	ContainerBytes int64 `json:"containerBytes"`
}

func (c *systemDFCmd) Run(e *env) error {
	if !e.worker { // files of containers are read there
		args := []string{"system", "df"}
		if c.JSON {
			args = append(args, "--json")
		}
		return e.inWorker(args...)
	}
	h, err := e.home()
	if err != nil {
		return err
	}
	use, err := measure(h)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, use)
	}
	w := tabwriter.NewWriter(e.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprint(w, "TYPE\tCOUNT\tSIZE\n")
	fmt.Fprintf(w, "images\t%d\t\n", use.Images)
	fmt.Fprintf(w, "  unpacked layers\t%d\t%s\n", use.Layers, image.Bytes(use.LayerBytes))
	fmt.Fprintf(w, "  blobs\t%d\t%s\n", use.Blobs, image.Bytes(use.BlobBytes))
	fmt.Fprintf(w, "  interrupted downloads\t%d\t%s\n", use.Partial, image.Bytes(use.PartialSize))
	fmt.Fprintf(w, "containers\t%d (%d running)\t%s\n", use.Containers, use.Running, image.Bytes(use.ContainerBytes))
	fmt.Fprintf(w, "to be had by prune\t\t%s\n", image.Bytes(use.Unused))
	return w.Flush()
}

func measure(h lifecycle.Home) (use diskUse, err error) {
	store, err := image.Open(h.Data)
	if err != nil {
		return use, err
	}
	inUse, err := h.LayersInUse()
	if err != nil {
		return use, err
	}
	if use.Usage, err = store.Usage(inUse); err != nil {
		return use, err
	}
	boxes, err := h.Boxes()
	if err != nil {
		return use, err
	}
	for _, b := range boxes {
		use.Containers++
		if running, err := h.Running(b); err == nil && running {
			use.Running++
		}
		use.ContainerBytes += treeSize(filepath.Join(h.Folder(b), "upper"))
	}
	return use, nil
}

// treeSize is the size of the files below a folder.
func treeSize(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil // what is going away meanwhile does not count
	})
	return n
}

type systemCheckCmd struct {
	Repair bool `help:"Unpack and fetch again what is broken."`
	JSON   bool `name:"json" help:"Print JSON."`
}

func (c *systemCheckCmd) Run(e *env) error {
	h, err := e.home()
	if err != nil {
		return err
	}
	id, err := identity()
	if err != nil {
		return err
	}
	boxes, err := h.Boxes()
	if err != nil {
		return err
	}
	r := image.CheckRequest{Store: h.Data, Repair: c.Repair, JSON: c.JSON, OneID: id.Rung == userns.OneID}
	for _, b := range boxes {
		if running, err := h.Running(b); err != nil || running {
			r.Busy = append(r.Busy, b.Layers...)
		}
	}
	return e.ask("check", r)
}

type pruneCmd struct {
	All   bool `short:"a" help:"Remove all images that no container uses, and not only those without a name."`
	Force bool `short:"f" help:"Do not ask."`
}

func (c *pruneCmd) Run(e *env) error {
	if !e.worker {
		if !c.Force {
			if err := c.confirm(e); err != nil {
				return err
			}
		}
		args := []string{"prune", "--force"}
		if c.All {
			args = append(args, "--all")
		}
		return e.inWorker(args...)
	}
	h, err := e.home()
	if err != nil {
		return err
	}
	store, err := image.Open(h.Data)
	if err != nil {
		return err
	}
	boxes, err := h.Boxes()
	if err != nil {
		return err
	}
	inUse, err := h.LayersInUse()
	if err != nil {
		return err
	}
	before, err := store.Usage(inUse)
	if err != nil {
		return err
	}
	if err := c.forget(e, store, boxes); err != nil {
		return err
	}
	if _, err := store.Prune(context.Background(), inUse); err != nil {
		return err
	}
	after, err := store.Usage(inUse)
	freed := before.LayerBytes + before.BlobBytes + before.PartialSize - after.LayerBytes - after.BlobBytes - after.PartialSize
	fmt.Fprintf(e.stdout, "freed %s\n", image.Bytes(freed))
	return err
}

func (c *pruneCmd) confirm(e *env) error {
	if !lifecycle.IsTerminal(e.stdin) {
		return errors.New("removes images; say -f without a terminal to ask on")
	}
	which := "all images without a name that no container uses"
	if c.All {
		which = "all images that no container uses"
	}
	fmt.Fprintf(e.stdout, "remove %s, and interrupted downloads? [y/N] ", which)
	var answer string
	if _, err := fmt.Fscanln(e.stdin, &answer); err != nil || !strings.HasPrefix(strings.ToLower(answer), "y") {
		return errors.New("nothing was removed")
	}
	return nil
}

// forget removes the names that prune is for.
func (c *pruneCmd) forget(e *env, store *image.Store, boxes []lifecycle.BoxRecord) error {
	list, err := store.Images()
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range list {
		if !c.All && !i.Untagged() || len(usersOf(boxes, i.ConfigDigest, i.Layers)) > 0 {
			continue
		}
		if err := store.ForgetOnly(context.Background(), i); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintln(e.stdout, "Untagged:", i.Name)
	}
	return e.several(errs)
}
