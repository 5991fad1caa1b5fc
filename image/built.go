package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Encoder makes a writer that compresses what it is given.
type Encoder func(io.Writer) io.WriteCloser

// built is an image that was made here, as a source for the store.
type built struct {
	store *Store
	root  v1.Descriptor
	texts map[digest.Digest][]byte
	files map[digest.Digest]string
}

func (b *built) add(mediaType string, text []byte) v1.Descriptor {
	d := digest.FromBytes(text)
	b.texts[d] = text
	return v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(text))}
}

// Root returns the manifest.
func (b *built) Root(context.Context) (string, []byte, error) {
	return b.root.MediaType, b.texts[b.root.Digest], nil
}

// Document is not called: there is one manifest.
func (b *built) Document(_ context.Context, d v1.Descriptor) ([]byte, error) {
	return nil, fmt.Errorf("%w: %s", ErrNotFound, d.Digest)
}

// Blob opens what was made, or is in the store.
func (b *built) Blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if text, ok := b.texts[d.Digest]; ok {
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	if name, ok := b.files[d.Digest]; ok {
		return os.Open(name)
	}
	return os.Open(b.store.blobPath(d.Digest))
}

// Close does nothing.
func (b *built) Close() error { return nil }

// packLayer writes a layer to a file, compressed, and returns what it is and
// the digest of the tar.
func packLayer(name string, compress Encoder, write func(io.Writer) error) (v1.Descriptor, digest.Digest, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	plain, packed := sha256.New(), sha256.New()
	counter := &countWriter{}
	z := compress(io.MultiWriter(f, packed, counter))
	err = write(io.MultiWriter(plain, z))
	if err := errors.Join(err, z.Close(), f.Close()); err != nil {
		return v1.Descriptor{}, "", err
	}
	d := v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.NewDigest(digest.SHA256, packed), Size: counter.n}
	return d, digest.NewDigest(digest.SHA256, plain), nil
}

type countWriter struct{ n int64 }

func (c *countWriter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
