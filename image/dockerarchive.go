package image

import (
	"archive/tar"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerManifestFile lists the images of an archive of `docker save`.
const dockerManifestFile = "manifest.json"

// dockerEntry is an entry of it.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string // the bottom one first
}

// dockerEntries describes images as docker's manifest.json does: one manifest
// each, and all names of the same image together.
func (s *Store) dockerEntries(images []*Content, config func(digest.Digest) string, layer func(v1.Descriptor, digest.Digest) string) ([]byte, error) {
	list := []*dockerEntry{}
	seen := map[digest.Digest]*dockerEntry{}
	for _, c := range images {
		e := seen[c.ID]
		if e == nil {
			doc, conf, err := s.manifestOf(c)
			if err != nil {
				return nil, err
			}
			e = &dockerEntry{Config: config(doc.Config.Digest), RepoTags: []string{}, Layers: []string{}}
			for n, l := range doc.Layers {
				e.Layers = append(e.Layers, layer(l, conf.RootFS.DiffIDs[n]))
			}
			seen[c.ID] = e
			list = append(list, e)
		}
		if ref, err := ParseReference(c.Name); err == nil && ref.Transport == Registry && ref.Digest == "" && !slices.Contains(e.RepoTags, c.Name) {
			e.RepoTags = append(e.RepoTags, c.Name)
		}
	}
	return json.Marshal(list)
}

// manifestOf finds the manifest of the image's id among its documents.
func (s *Store) manifestOf(c *Content) (*document, *v1.Image, error) {
	for _, d := range c.Documents {
		if slices.Contains(indexTypes, d.MediaType) {
			continue
		}
		doc, config, _, err := s.configOf(d.Digest)
		if err != nil {
			return nil, nil, err
		}
		if doc.Config.Digest == c.ID {
			return doc, config, nil
		}
	}
	return nil, nil, fmt.Errorf("%w: no manifest for %s", ErrNotFound, c.ID)
}

// SaveDocker writes images as `docker save` did for ten years: uncompressed
// layers, no manifests, so that only the ids of images survive.
func (s *Store) SaveDocker(ctx context.Context, images []*Content, gzip, zstd Decoder, out io.Writer) error {
	w := &archiveWriter{tw: tar.NewWriter(out)}
	written := map[string]bool{}
	for _, c := range images {
		doc, config, err := s.manifestOf(c)
		if err != nil {
			return err
		}
		text, err := s.readBlob(doc.Config.Digest)
		if err != nil {
			return err
		}
		if name := dockerConfigName(doc.Config.Digest); !written[name] {
			w.text(name, text)
			written[name] = true
		}
		for n, l := range doc.Layers {
			name := dockerLayerName(l, config.RootFS.DiffIDs[n])
			if written[name] {
				continue
			}
			written[name] = true
			if err := s.plainLayer(ctx, l, config.RootFS.DiffIDs[n], gzip, zstd, w, name); err != nil {
				return fmt.Errorf("layer %s: %w", l.Digest, err)
			}
		}
	}
	text, err := s.dockerEntries(images, dockerConfigName, dockerLayerName)
	if err != nil {
		return err
	}
	w.text(dockerManifestFile, text)
	return w.end()
}

func dockerConfigName(d digest.Digest) string { return d.Encoded() + ".json" }

func dockerLayerName(_ v1.Descriptor, diffID digest.Digest) string { return diffID.Encoded() + ".tar" }

// plainLayer writes an uncompressed layer. A tar wants its size first, so it
// is unpacked to a file.
func (s *Store) plainLayer(ctx context.Context, l v1.Descriptor, diffID digest.Digest, gzip, zstd Decoder, w *archiveWriter, name string) error {
	in, err := s.OpenBlob(l)
	if err != nil {
		return err
	}
	defer in.Close()
	plain, err := decompress(in, gzip, zstd)
	if err != nil {
		return err
	}
	defer plain.Close()
	f, err := s.scratch()
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := io.Copy(f, readerOf(ctx, newVerifier(plain, "unpacked layer", diffID, -1)))
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w.file(name, size, f)
	return w.err
}

// scratch is a file of the store that has no name, so that it goes with its
// last user.
func (s *Store) scratch() (*os.File, error) {
	f, err := os.CreateTemp(s.path(tmpDir), "file-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

type contextReader struct {
	ctx context.Context
	io.Reader
}

// readerOf makes a reader that ends with a context.
func readerOf(ctx context.Context, r io.Reader) io.Reader { return &contextReader{ctx, r} }

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
