package errand

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"airplant/image"
	"airplant/image/registry"
)

// manifest prints the manifest or index of an image: that of the store, else
// that of where the reference points to.
func manifest(ctx context.Context, r *image.ManifestRequest, w World) error {
	text, err := manifestText(ctx, r, w)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "   "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err = b.WriteTo(w.Stdout)
	return err
}

func manifestText(ctx context.Context, r *image.ManifestRequest, w World) ([]byte, error) {
	if !r.Remote {
		store, err := image.Open(r.Store)
		if err != nil {
			return nil, err
		}
		found, err := store.Find(r.Image, nil)
		if err == nil {
			return store.ReadBlob(found[0].Target)
		}
		if !errors.Is(err, image.ErrNotFound) {
			return nil, err
		}
	}
	ref, err := image.ParseReference(r.Image)
	if err != nil {
		return nil, err
	}
	world := registry.NewWorld(w.Getenv, "/etc")
	return image.Document(ctx, ref, func(host, repository, reference string, accept []string) image.Source {
		return world.Connect(host, repository, reference, accept)
	})
}
