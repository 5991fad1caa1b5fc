//go:build !small

package main

import "airplant/image"

type manifestCmd struct {
	Inspect manifestInspectCmd `cmd:"" help:"Print the manifest or index of an image."`
}

type manifestInspectCmd struct {
	Remote bool   `help:"Do not look into the store, but where the name points to."`
	Image  string `arg:"" help:"Name or id of an image."`
}

func (c *manifestInspectCmd) Run(e *env) error {
	h, err := e.home()
	if err != nil {
		return err
	}
	return e.send("manifest", image.ManifestRequest{Store: h.Data, Image: c.Image, Remote: c.Remote})
}
