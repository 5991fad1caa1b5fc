package errand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"airplant/image"
	"airplant/image/inflate"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func save(ctx context.Context, r *image.SaveRequest, w World) error {
	store, err := image.Open(r.Store)
	if err != nil {
		return err
	}
	var list []*image.Content
	for _, name := range r.Images {
		c, err := content(store, name, r.Platform)
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	if r.Format == "oci-dir" {
		return store.SaveLayout(ctx, list, r.Output)
	}
	return output(r.Output, w.Stdout, func(out io.Writer) error {
		if r.Format == "docker-archive" {
			return store.SaveDocker(ctx, list, inflate.Gzip, inflate.Zstd, out)
		}
		return store.SaveArchive(ctx, list, out)
	})
}

// content finds an image and lists what it consists of; asked for by a
// platform, that is the one image.
func content(store *image.Store, name, platform string) (*image.Content, error) {
	var p *v1.Platform
	if platform != "" {
		parsed, err := image.ParsePlatform(platform)
		if err != nil {
			return nil, err
		}
		p = &parsed
	}
	found, err := store.Find(name, p)
	if err != nil {
		return nil, err
	}
	c, err := store.Content(found[0], p != nil)
	if err != nil {
		return nil, err
	}
	// Who asks by an id gets the image without a name.
	if ref, err := image.ParseReference(name); err != nil || !named(ref, c.Name) {
		c.Name = ""
	}
	return c, nil
}

func named(ref image.Reference, name string) bool {
	ref, err := ref.Absolute()
	return err == nil && ref.String() == name
}

// output writes a file that appears when it is complete, or to a stream.
func output(name string, stream io.Writer, write func(io.Writer) error) error {
	if name == "" {
		return write(stream)
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".airplant-")
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), name)
}

func load(ctx context.Context, r *image.LoadRequest, w World) error {
	store, err := image.Open(r.Store)
	if err != nil {
		return err
	}
	in := w.Stdin
	if r.Input != "" {
		if in, err = os.Open(r.Input); err != nil {
			return err
		}
		defer in.Close()
	}
	opts := image.PullOptions{IgnoreOwner: r.OneID, Gzip: inflate.Gzip, Zstd: inflate.Zstd}
	if r.Platform != "" {
		if opts.Platform, err = image.ParsePlatform(r.Platform); err != nil {
			return err
		}
	}
	return store.Load(ctx, in, opts, func(i *image.Image) {
		if i.Untagged() {
			fmt.Fprintln(w.Stdout, "Loaded image ID:", i.ConfigDigest)
		} else {
			fmt.Fprintln(w.Stdout, "Loaded image:", i.Name)
		}
	})
}
