package registry

import (
	"context"
	"io"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Source reads one image of a registry.
type Source struct {
	client    *Client
	repo      *Repository
	reference string
	accept    []string
}

// Connect makes the source of an image; reference is a tag or a digest, accept
// the media types of manifests. auth is as for [New]. Nothing is sent yet.
func Connect(auth func(host, repository string) (Credential, error), host, repository, reference string, accept []string) *Source {
	c := New(auth)
	return &Source{client: c, repo: c.Repository(host, repository), reference: reference, accept: accept}
}

// Root gets the manifest or index that the reference stands for.
func (s *Source) Root(ctx context.Context) (mediaType string, text []byte, err error) {
	text, mediaType, err = s.repo.Manifest(ctx, s.reference, s.accept)
	return mediaType, text, err
}

// Document gets a manifest by its digest.
func (s *Source) Document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	text, _, err := s.repo.Manifest(ctx, string(d.Digest), s.accept)
	return text, err
}

// Blob opens a configuration or a layer; the caller closes it.
func (s *Source) Blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return s.repo.Blob(ctx, d.Digest)
}

// Close closes idle connections.
func (s *Source) Close() error {
	s.client.Close()
	return nil
}
