//go:build !small

package main

import (
	"context"

	"airplant/image"
)

type tagCmd struct {
	Image  string   `arg:"" help:"Name or id of an image."`
	Target []string `arg:"" help:"Names to give it."`
}

func (c *tagCmd) Run(e *env) error {
	store, err := e.store()
	if err != nil {
		return err
	}
	found, err := store.Find(c.Image, nil)
	if err != nil {
		return err
	}
	var names []image.Reference
	for _, t := range c.Target {
		ref, err := image.ParseReference(t)
		if err != nil {
			return err
		}
		names = append(names, ref)
	}
	for _, ref := range names {
		if err := store.Tag(context.Background(), found[0], ref); err != nil {
			return err
		}
	}
	return nil
}
