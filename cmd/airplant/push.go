//go:build !small

package main

import (
	"path/filepath"

	"airplant/image"
)

type pushCmd struct {
	AllTags     bool   `short:"a" help:"Push all tags of the repository."`
	DigestFile  string `name:"digestfile" help:"Write the manifest's digest to a file." placeholder:"FILE"`
	Platform    string `help:"Push the image for this platform alone: os/arch[/variant]." placeholder:"PLATFORM"`
	Quiet       bool   `short:"q" help:"Print no progress."`
	Image       string `arg:"" help:"Name or id of an image."`
	Destination string `arg:"" optional:"" help:"Where to, if not its own name: a reference, oci:DIR[:TAG] or oci-archive:FILE[:TAG]."`
}

func (c *pushCmd) Run(e *env) error {
	h, err := e.home()
	if err != nil {
		return err
	}
	r := image.PushRequest{
		Store: h.Data, Image: c.Image, Platform: c.Platform, AllTags: c.AllTags, DigestFile: c.DigestFile, Quiet: c.Quiet,
	}
	if c.Destination != "" {
		ref, err := image.ParseReference(c.Destination)
		if err != nil {
			return err
		}
		if r.Destination = c.Destination; ref.Transport != image.Registry {
			if ref.Path, err = filepath.Abs(ref.Path); err != nil {
				return err
			}
			r.Destination = ref.String()
		}
	}
	return e.send("push", r)
}
