package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerImages lists the images of an archive of `docker save`.
func dockerImages(f files) ([]entry, error) {
	src := &layoutSource{files: f}
	text, err := src.read(dockerManifestFile, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, unsupportedf("neither an OCI image layout nor an archive of docker: it has no %s and no %s", v1.ImageIndexFile, dockerManifestFile)
	}
	if err != nil {
		return nil, err
	}
	var docker []dockerEntry
	if err := parseJSON(text, &docker); err != nil {
		return nil, unsupportedf("%s: %v", dockerManifestFile, err)
	}
	if len(docker) > maxImages {
		return nil, unsupportedf("archive with %d images, more than %d", len(docker), maxImages)
	}
	var list []entry
	seen := map[string]v1.Descriptor{}
	for _, d := range docker {
		source, err := newDockerSource(f, d, seen)
		if err != nil {
			return nil, err
		}
		e := entry{source: source}
		for _, tag := range d.RepoTags {
			ref, err := parseName(tag)
			if err != nil {
				return nil, fmt.Errorf("name %q: %w", tag, err)
			}
			e.names = append(e.names, ref.String())
		}
		list = append(list, e)
	}
	return list, nil
}

// dockerSource reads an image of docker's archive, for which it makes the
// manifest that the archive lacks.
type dockerSource struct {
	files    files
	manifest []byte
	names    map[digest.Digest]string // of files
	// seen are files of the archive that were read, by name: images share them.
	seen map[string]v1.Descriptor
}

func newDockerSource(f files, d dockerEntry, seen map[string]v1.Descriptor) (*dockerSource, error) {
	s := &dockerSource{files: f, names: map[digest.Digest]string{}, seen: seen}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{}}
	if len(d.Layers) > maxLayers {
		return nil, unsupportedf("%d layers, more than %d", len(d.Layers), maxLayers)
	}
	var err error
	if m.Config, err = s.describe(d.Config); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	m.Config.MediaType = v1.MediaTypeImageConfig
	for _, name := range d.Layers {
		l, err := s.describe(name)
		if err != nil {
			return nil, fmt.Errorf("layer: %w", err)
		}
		m.Layers = append(m.Layers, l)
	}
	s.manifest, err = json.Marshal(m)
	return s, err
}

// describe reads a file to find its digest; the puller reads it again.
func (s *dockerSource) describe(name string) (v1.Descriptor, error) {
	name = path.Clean("/" + name)[1:]
	if d, ok := s.seen[name]; ok {
		s.names[d.Digest] = name
		return d, nil
	}
	rc, err := s.files.open(name)
	if err != nil {
		return v1.Descriptor{}, err
	}
	defer rc.Close()
	h := sha256.New()
	var head bytes.Buffer
	n, err := io.Copy(h, io.TeeReader(rc, &limitedWriter{&head, 4}))
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.NewDigest(digest.SHA256, h), Size: n}
	switch {
	case bytes.HasPrefix(head.Bytes(), []byte("\x1f\x8b")):
		d.MediaType = v1.MediaTypeImageLayerGzip
	case bytes.HasPrefix(head.Bytes(), []byte("\x28\xb5\x2f\xfd")):
		d.MediaType = v1.MediaTypeImageLayerZstd
	}
	s.names[d.Digest], s.seen[name] = name, d
	return d, nil
}

// limitedWriter keeps the beginning of what is written.
type limitedWriter struct {
	b *bytes.Buffer
	n int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if room := w.n - w.b.Len(); room > 0 {
		w.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (s *dockerSource) Root(context.Context) (string, []byte, error) {
	return v1.MediaTypeImageManifest, s.manifest, nil
}

func (s *dockerSource) Document(_ context.Context, d v1.Descriptor) ([]byte, error) {
	return nil, fmt.Errorf("%w: %s", ErrNotFound, d.Digest)
}

func (s *dockerSource) Blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return s.files.open(s.names[d.Digest])
}

func (s *dockerSource) Close() error { return nil }
