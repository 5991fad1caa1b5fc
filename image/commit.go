package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"airplant/image/layer"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// CommitOptions says what a new image is made of.
type CommitOptions struct {
	Base     digest.Digest // the id of the image that the container was made of
	Upper    string        // the directory of what the container changed
	Layer    layer.WriteOptions
	Name     string // canonical, or "" for none
	Config   *v1.ImageConfig
	Changes  []string // instructions of a Dockerfile
	Author   string
	Message  string
	Created  time.Time
	Command  string // that made the changes, for the history
	Compress Encoder
	Pull     PullOptions // how to unpack the new layer
	// Docker makes a manifest of docker's type rather than of OCI's.
	Docker bool
}

// Commit makes an image of what a container changed: the layers of its image
// and one more, which is left out if nothing has changed.
func (s *Store) Commit(ctx context.Context, o CommitOptions) (*Image, error) {
	i, err := s.commit(ctx, o)
	if err != nil {
		return nil, &Error{Op: "commit", Ref: o.Name, Err: err}
	}
	return i, nil
}

func (s *Store) commit(ctx context.Context, o CommitOptions) (*Image, error) {
	base, err := s.byID(o.Base)
	if err != nil {
		return nil, fmt.Errorf("the container's image: %w", err)
	}
	doc, _, text, err := s.configOf(base.Manifest.Digest)
	if err != nil {
		return nil, err
	}
	c, err := parseRawConfig(text)
	if err != nil {
		return nil, err
	}
	if err := c.apply(o.Config, o.Changes); err != nil {
		return nil, err
	}
	w, err := s.workspace(ctx, fmt.Sprintf("commit-%d", os.Getpid()))
	if err != nil {
		return nil, err
	}
	defer w.close()
	b := &built{store: s, texts: map[digest.Digest][]byte{}, files: map[digest.Digest]string{}}
	packed, diffID, err := s.packChanges(ctx, w, base, o)
	if err != nil {
		return nil, fmt.Errorf("what the container changed: %w", err)
	}
	layers := doc.Layers
	if diffID != "" {
		b.files[packed.Digest] = w.path("layer")
		layers = append(slices.Clone(layers), packed)
	}
	c.commit(o, diffID)
	if err := b.manifest(c, layers, o.Docker); err != nil {
		return nil, err
	}
	o.Pull.Platform = base.Platform
	r, err := s.take(ctx, b, o.Name, o.Pull)
	if err != nil {
		return nil, err
	}
	return s.image(r), nil
}

func (s *Store) byID(id digest.Digest) (*record, error) {
	records, err := s.records()
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if r.Config == id {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
}

// packChanges writes the new layer; without changes the diff id is "".
func (s *Store) packChanges(ctx context.Context, w *workspace, base *record, o CommitOptions) (v1.Descriptor, digest.Digest, error) {
	upper, err := os.Open(o.Upper)
	if err != nil {
		return v1.Descriptor{}, "", err
	}
	defer upper.Close()
	var lowers []*os.File
	defer func() { closeFiles(lowers) }()
	for _, chain := range slices.Backward(base.Layers) {
		f, err := os.Open(s.diffPath(chain))
		if err != nil {
			return v1.Descriptor{}, "", err
		}
		lowers = append(lowers, f)
	}
	entries := 0
	d, diffID, err := packLayer(w.path("layer"), o.Compress, func(out io.Writer) (err error) {
		entries, err = layer.WriteChanges(ctx, out, upper, lowers, o.Layer)
		return err
	})
	if err != nil || entries == 0 {
		return v1.Descriptor{}, "", err
	}
	return d, diffID, nil
}

// manifest adds the configuration and the manifest. The layers keep their
// bytes, and get the names that go with the manifest's type.
func (b *built) manifest(c *rawConfig, layers []v1.Descriptor, docker bool) error {
	text, err := c.encode()
	if err != nil {
		return err
	}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Layers: []v1.Descriptor{}}
	config := v1.MediaTypeImageConfig
	if docker {
		m.MediaType, config = dockerManifest, dockerConfig
	}
	m.Config = b.add(config, text)
	for _, l := range layers {
		t, err := layerType(l.MediaType, docker)
		if err != nil {
			return err
		}
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: t, Digest: l.Digest, Size: l.Size, Annotations: l.Annotations, URLs: l.URLs})
	}
	if text, err = json.Marshal(m); err != nil {
		return err
	}
	b.root = b.add(m.MediaType, text)
	return nil
}

// layerType translates the media type of a layer between OCI and docker.
func layerType(t string, docker bool) (string, error) {
	pairs := [][2]string{
		{v1.MediaTypeImageLayer, dockerLayer},
		{v1.MediaTypeImageLayerGzip, dockerLayer + ".gzip"},
		{v1.MediaTypeImageLayerZstd, dockerLayer + ".zstd"},
	}
	for _, p := range pairs {
		switch {
		case t != p[0] && t != p[1]:
		case docker && t == p[0] && strings.HasSuffix(p[1], ".zstd"):
			return "", errors.New("docker's manifests have no name for zstd layers")
		case docker:
			return p[1], nil
		default:
			return p[0], nil
		}
	}
	return t, nil
}
