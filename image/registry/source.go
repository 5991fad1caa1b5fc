package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source reads one image, from a registry or from its mirrors.
type Source struct {
	repos     []*Repository // the registry itself is the last one
	reference string
	accept    []string
	close     func()
	err       error // in what is written down on this machine
}

// Connect makes the source of an image; reference is a tag or a digest, accept
// the media types of manifests. auth is as for [New]. Nothing is sent yet.
func Connect(auth func(host, repository string) (Credential, error), host, repository, reference string, accept []string) *Source {
	c := New(auth)
	return &Source{repos: []*Repository{c.Repository(host, repository)}, reference: reference, accept: accept, close: c.Close}
}

// Connect is like the function of this name, by what is written down on this
// machine.
func (w *World) Connect(host, repository, reference string, accept []string) *Source {
	repos, err := w.repositories(host, repository, reference)
	return &Source{repos: repos, reference: reference, accept: accept, close: w.Close, err: err}
}

// each asks one place after the other until one gives what is wanted. The
// error is that of the registry itself, unless only another place answered.
func (s *Source) each(ctx context.Context, ask func(*Repository) error) error {
	failed := s.err
	for _, r := range s.repos {
		err := ask(r)
		if err == nil || ctx.Err() != nil {
			return err
		}
		_, answer := errors.AsType[*StatusError](err)
		_, before := errors.AsType[*StatusError](failed)
		if failed == nil || answer || !before {
			failed = err
		}
	}
	return failed
}

// Root gets the manifest or index that the reference stands for.
func (s *Source) Root(ctx context.Context) (mediaType string, text []byte, err error) {
	err = s.each(ctx, func(r *Repository) (err error) {
		text, mediaType, err = r.Manifest(ctx, s.reference, s.accept)
		return err
	})
	return mediaType, text, err
}

// Document gets a manifest by its digest.
func (s *Source) Document(ctx context.Context, d v1.Descriptor) (text []byte, err error) {
	err = s.each(ctx, func(r *Repository) (err error) {
		text, _, err = r.Manifest(ctx, string(d.Digest), s.accept)
		return err
	})
	return text, err
}

// Blob opens a configuration or a layer; the caller closes it.
func (s *Source) Blob(ctx context.Context, d v1.Descriptor) (rc io.ReadCloser, err error) {
	return s.BlobFrom(ctx, d, 0)
}

// BlobFrom is Blob at an offset.
func (s *Source) BlobFrom(ctx context.Context, d v1.Descriptor, offset int64) (rc io.ReadCloser, err error) {
	err = s.each(ctx, func(r *Repository) (err error) {
		rc, err = r.Blob(ctx, d, offset)
		return err
	})
	return rc, err
}

// Close closes idle connections.
func (s *Source) Close() error {
	s.close()
	return nil
}

// Ping checks that the registry accepts the credential.
func (r *Repository) Ping(ctx context.Context) error {
	r.scopes = nil
	resp, err := r.get(ctx, r.root, "*/*", 0)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	return resp.Body.Close()
}
