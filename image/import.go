package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// ImportOptions says what becomes of a root filesystem in a tar.
type ImportOptions struct {
	Name     string // canonical, or "" for none
	Changes  []string
	Message  string
	Author   string
	Source   string // for the history
	Created  time.Time
	Compress Encoder
	Pull     PullOptions
}

// Import makes an image with one layer of a tar, perhaps compressed.
func (s *Store) Import(ctx context.Context, tar io.Reader, o ImportOptions) (*Image, error) {
	i, err := s.importTar(ctx, tar, o)
	if err != nil {
		return nil, &Error{Op: "import", Ref: o.Name, Err: err}
	}
	return i, nil
}

func (s *Store) importTar(ctx context.Context, tar io.Reader, o ImportOptions) (*Image, error) {
	o.Pull.Platform = normalPlatform(o.Pull.Platform)
	c := emptyConfig(o.Pull.Platform)
	if err := c.apply(nil, o.Changes); err != nil {
		return nil, err
	}
	w, err := s.workspace(ctx, fmt.Sprintf("import-%d", os.Getpid()))
	if err != nil {
		return nil, err
	}
	defer w.close()
	plain, err := decompress(readerOf(ctx, tar), o.Pull.Gzip, o.Pull.Zstd)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	packed, diffID, err := packLayer(w.path("layer"), o.Compress, func(out io.Writer) error {
		_, err := io.Copy(out, plain)
		return err
	})
	if err != nil {
		return nil, err
	}
	made := CommitOptions{Created: o.Created, Author: o.Author, Message: o.Message, Command: "import from " + o.Source}
	c.commit(made, diffID)
	b := &built{store: s, texts: map[digest.Digest][]byte{}, files: map[digest.Digest]string{packed.Digest: w.path("layer")}}
	if err := b.manifest(c, []v1.Descriptor{packed}, false); err != nil {
		return nil, err
	}
	r, err := s.take(ctx, b, o.Name, o.Pull)
	if err != nil {
		return nil, err
	}
	return s.image(r), nil
}
