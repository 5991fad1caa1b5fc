// Package puller pulls an image for a person: it joins the store with the
// registry client and the decoder of zstd, and shows progress.
//
// It is apart from package image for what it links. Initialisation of net/http
// and of zstd costs each start of a program 0.6 ms, so the small program that
// starts containers does not link it; see cmd/airplant/carried.go.
package puller

import (
	"context"
	"errors"
	"fmt"
	"io"

	"airplant/image"
	"airplant/image/inflate"
	"airplant/image/registry"
)

// Run pulls, and prints the image's id on out and progress on err.
func Run(ctx context.Context, r image.Request, getenv func(string) string, out, progress io.Writer) error {
	err := pullOne(ctx, r, getenv, out, progress)
	for _, name := range r.Others {
		if !errors.Is(err, image.ErrNotFound) && !errors.Is(err, image.ErrUnauthorized) {
			break
		}
		r.Image = name
		if next := pullOne(ctx, r, getenv, out, progress); next == nil || !errors.Is(next, image.ErrNotFound) {
			err = next
		}
	}
	return err
}

// means are options to pull whatever there is, by what is written down on this
// machine.
func means(getenv func(string) string) image.PullOptions {
	world := registry.NewWorld(getenv, "/etc")
	return image.PullOptions{
		Platform: image.HostPlatform(), Gzip: inflate.Gzip, Zstd: inflate.Zstd,
		Connect: func(host, repository, reference string, accept []string) image.Source {
			return world.Connect(host, repository, reference, accept)
		},
	}
}

func pullOne(ctx context.Context, r image.Request, getenv func(string) string, out, progress io.Writer) error {
	ref, err := image.ParseReference(r.Image)
	if err != nil {
		return err
	}
	store, err := image.Open(r.Store)
	if err != nil {
		return err
	}
	options := means(getenv)
	options.Policy, options.IgnoreOwner = r.Policy, r.OneID
	if r.Platform != "" {
		if options.Platform, err = image.ParsePlatform(r.Platform); err != nil {
			return err
		}
	}
	if !r.Quiet {
		p := newProgress(progress, ref.String())
		options.Progress = p.event
		defer p.end()
	}
	img, err := store.Pull(ctx, ref, options)
	if err == nil && !r.NoID {
		_, err = fmt.Fprintln(out, img.ConfigDigest)
	}
	return err
}
