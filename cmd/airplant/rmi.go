//go:build !small

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"airplant/image"
	"airplant/lifecycle"

	"github.com/opencontainers/go-digest"
)

type rmiCmd struct {
	All    bool     `short:"a" help:"Remove all images that no container uses."`
	Force  bool     `short:"f" help:"Remove all names of an image, and those of images in use."`
	Images []string `arg:"" optional:"" help:"Names or ids."`
}

func (c *rmiCmd) Run(e *env) error {
	if !c.All && len(c.Images) == 0 {
		return errors.New("an image is missing")
	}
	if !e.worker {
		args := []string{"rmi"}
		if c.All {
			args = append(args, "--all")
		}
		if c.Force {
			args = append(args, "--force")
		}
		return e.inWorker(append(append(args, "--"), c.Images...)...)
	}
	h, err := e.home()
	if err != nil {
		return err
	}
	store, err := image.Open(h.Data)
	if err != nil {
		return err
	}
	opts := image.ForgetOptions{Force: c.Force}
	boxes, err := h.Boxes()
	if err != nil {
		return err
	}
	if opts.InUse, err = h.LayersInUse(); err != nil {
		return err
	}
	opts.Users = func(id digest.Digest, layers []string) []string { return usersOf(boxes, id, layers) }
	names := c.Images
	if c.All {
		if names, err = unused(store, boxes, c.Force); err != nil {
			return err
		}
	}
	// One that cannot be removed is no reason to keep the others.
	var errs []error
	for _, name := range names {
		done, err := store.Forget(context.Background(), name, opts)
		for _, n := range done.Untagged {
			fmt.Fprintln(e.stdout, "Untagged:", n)
		}
		for _, d := range done.Deleted {
			fmt.Fprintln(e.stdout, "Deleted:", d)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return e.several(errs)
}

// usersOf names the containers that were made of an image.
func usersOf(boxes []lifecycle.BoxRecord, id digest.Digest, layers []string) []string {
	var names []string
	for _, b := range boxes {
		if b.ImageID == string(id) || b.ImageID == "" && len(layers) > 0 && slices.Equal(b.Layers, layers) {
			names = append(names, b.Name)
		}
	}
	return names
}

// unused lists the names of images that containers do not use, and with force
// those of all.
func unused(store *image.Store, boxes []lifecycle.BoxRecord, force bool) ([]string, error) {
	list, err := store.Images()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range list {
		if !force && len(usersOf(boxes, i.ConfigDigest, i.Layers)) > 0 {
			continue
		}
		name := i.Name
		if i.Untagged() {
			name = string(i.ConfigDigest)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}
