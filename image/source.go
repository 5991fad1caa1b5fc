package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"airplant/image/registry"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// source is where the parts of an image come from. What it returns has not
// been verified.
type source interface {
	// root returns the document that the reference stands for.
	root(ctx context.Context) (mediaType string, text []byte, err error)
	// document returns a manifest by its digest.
	document(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// blob opens a configuration or a layer.
	blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	close() error
}

// open makes the source for an absolute reference.
func open(ref Reference, auth AuthFunc) (source, error) {
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
		c := registry.New(auth)
		return &registrySource{client: c, repo: c.Repository(ref.Host, ref.Repository), ref: ref}, nil
	}
	return nil, unsupportedf("transport %q", ref.Transport)
}

type registrySource struct {
	client *registry.Client
	repo   *registry.Repository
	ref    Reference
}

func (s *registrySource) root(ctx context.Context) (string, []byte, error) {
	want := s.ref.Tag
	if s.ref.Digest != "" {
		want = string(s.ref.Digest)
	}
	text, mediaType, err := s.repo.Manifest(ctx, want, accepted())
	return mediaType, text, err
}

func (s *registrySource) document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	text, _, err := s.repo.Manifest(ctx, string(d.Digest), accepted())
	return text, err
}

func (s *registrySource) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return s.repo.Blob(ctx, d.Digest)
}

func (s *registrySource) close() error {
	s.client.Close()
	return nil
}

// files gives the files of an image layout.
type files interface {
	open(name string) (io.ReadCloser, error)
	close() error
}

type dirFiles string

// open opens a regular file; a layout that somebody else made may hold a fifo
// or a link to a device.
func (d dirFiles) open(name string) (io.ReadCloser, error) {
	path := filepath.Join(string(d), filepath.FromSlash(name))
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	return os.Open(path)
}

func (d dirFiles) close() error { return nil }

// layoutSource reads an OCI image layout.
type layoutSource struct {
	files files
	ref   Reference
}

func (s *layoutSource) close() error { return s.files.close() }

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

func (s *layoutSource) root(ctx context.Context) (string, []byte, error) {
	if err := s.checkLayout(); err != nil {
		return "", nil, err
	}
	text, err := s.read(v1.ImageIndexFile, registry.MaxManifest)
	if err != nil {
		return "", nil, err
	}
	var index v1.Index
	if err := json.Unmarshal(text, &index); err != nil {
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
	text, err = s.document(ctx, d)
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
	if err := json.Unmarshal(text, &l); err != nil {
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

func (s *layoutSource) document(_ context.Context, d v1.Descriptor) ([]byte, error) {
	return s.read(blobName(d.Digest), registry.MaxManifest)
}

func (s *layoutSource) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
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
