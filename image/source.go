package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Source is where the parts of an image come from. What it returns has not
// been verified.
type Source interface {
	// Root returns the document that the reference stands for.
	Root(ctx context.Context) (mediaType string, text []byte, err error)
	// Document returns a manifest by its digest.
	Document(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// Blob opens a configuration or a layer. Closing it ends a Read that
	// blocks.
	Blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	Close() error
}

// seeking is a Source that can go on from the middle of a blob at no cost.
type seeking interface {
	BlobFrom(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error)
}

// blobFrom opens a blob at an offset.
func blobFrom(ctx context.Context, src Source, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	if s, ok := src.(seeking); ok {
		return s.BlobFrom(ctx, d, offset)
	}
	rc, err := src.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, rc, offset); err != nil && !errors.Is(err, io.EOF) {
		rc.Close()
		return nil, err
	}
	return rc, nil
}

// maxManifest is the size of a manifest above which it is refused, as by most
// registries.
const maxManifest = 4 << 20

// open makes the source for an absolute reference.
func open(ref Reference, connect ConnectFunc) (Source, error) {
	switch ref.Transport {
	case Layout:
		return &layoutSource{files: dirFiles(ref.Path), ref: ref}, nil
	case Archive:
		files, err := openArchive(ref.Path)
		if err != nil {
			return nil, err
		}
		return &layoutSource{files: files, ref: ref}, nil
	case Registry:
		if connect == nil {
			return nil, unsupportedf("registries: this program was made without")
		}
		want := ref.Tag
		if ref.Digest != "" {
			want = string(ref.Digest)
		}
		return connect(ref.Host, ref.Repository, want, accepted()), nil
	}
	return nil, unsupportedf("transport %q", ref.Transport)
}

// files gives the files of an image layout.
type files interface {
	open(name string) (io.ReadCloser, error)
	close() error
}

type dirFiles string

// open opens a regular file; a layout that somebody else made may hold a fifo,
// for which nobody shall wait, or a link to a device.
func (d dirFiles) open(name string) (io.ReadCloser, error) {
	path := filepath.Join(string(d), filepath.FromSlash(name))
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (d dirFiles) close() error { return nil }

// layoutSource reads an OCI image layout.
type layoutSource struct {
	files files
	ref   Reference
}

func (s *layoutSource) Close() error { return s.files.close() }

func (s *layoutSource) read(name string, limit int64) ([]byte, error) {
	f, err := s.files.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = unsupportedf("%s is larger than %d bytes", name, limit)
	}
	return text, err
}

func (s *layoutSource) Root(ctx context.Context) (string, []byte, error) {
	if err := s.checkLayout(); err != nil {
		return "", nil, err
	}
	text, err := s.read(v1.ImageIndexFile, maxManifest)
	if err != nil {
		return "", nil, err
	}
	var index v1.Index
	if err := parseJSON(text, &index); err != nil {
		return "", nil, unsupportedf("%s: %v", v1.ImageIndexFile, err)
	}
	if err := checkDescriptors(index.Manifests); err != nil {
		return "", nil, err
	}
	d, err := s.pick(index.Manifests)
	if err != nil {
		return "", nil, err
	}
	if !isDocument(d.MediaType) {
		return "", nil, unsupportedf("media type %q", d.MediaType)
	}
	text, err = s.Document(ctx, d)
	if err != nil {
		return "", nil, err
	}
	return d.MediaType, text, verify(text, d)
}

func isDocument(mediaType string) bool {
	for _, t := range accepted() {
		if t == mediaType {
			return true
		}
	}
	return false
}

func (s *layoutSource) checkLayout() error {
	text, err := s.read(v1.ImageLayoutFile, 1<<16)
	if errors.Is(err, fs.ErrNotExist) {
		if _, statErr := os.Stat(s.ref.Path); statErr != nil {
			return fmt.Errorf("%w: %w", ErrNotFound, statErr)
		}
		return unsupportedf("not an OCI image layout: it has no file %s", v1.ImageLayoutFile)
	}
	if err != nil {
		return err
	}
	var l v1.ImageLayout
	if err := parseJSON(text, &l); err != nil {
		return unsupportedf("%s: %v", v1.ImageLayoutFile, err)
	}
	if l.Version != v1.ImageLayoutVersion {
		return unsupportedf("image layout of version %q", l.Version)
	}
	return nil
}

// pick finds the image of the wanted name. Without a name it must be the only
// one.
func (s *layoutSource) pick(list []v1.Descriptor) (v1.Descriptor, error) {
	var found []v1.Descriptor
	var names []string
	for _, d := range list {
		name := d.Annotations[v1.AnnotationRefName]
		names = append(names, fmt.Sprintf("%q", name))
		if s.ref.Tag == "" || name == s.ref.Tag {
			found = append(found, d)
		}
	}
	if len(names) > 10 {
		names = append(names[:10], "…")
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0:
		return v1.Descriptor{}, fmt.Errorf("%w: %q is not among %s", ErrNotFound, s.ref.Tag, strings.Join(names, ", "))
	case s.ref.Tag == "":
		return v1.Descriptor{}, fmt.Errorf("%w: several images, choose a tag: %s", ErrNotFound, strings.Join(names, ", "))
	}
	return v1.Descriptor{}, unsupportedf("%d images are named %q", len(found), s.ref.Tag)
}

func blobName(d digest.Digest) string { return "blobs/sha256/" + d.Encoded() }

func (s *layoutSource) Document(_ context.Context, d v1.Descriptor) ([]byte, error) {
	return s.read(blobName(d.Digest), maxManifest)
}

func (s *layoutSource) Blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return s.files.open(blobName(d.Digest))
}

// verify compares a small blob with its descriptor.
func verify(text []byte, d v1.Descriptor) error {
	if got := digest.FromBytes(text); got != d.Digest {
		return fmt.Errorf("%w: want %s, got %s", ErrDigest, d.Digest, got)
	}
	if int64(len(text)) != d.Size {
		return fmt.Errorf("%w: %s has %d bytes, not %d", ErrDigest, d.Digest, len(text), d.Size)
	}
	return nil
}
