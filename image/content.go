package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Content is all that an image consists of, in the order in which a registry
// takes it: what refers to another comes after it.
type Content struct {
	Name      string          // canonical, "" if the image has none
	ID        digest.Digest   // of the configuration
	Root      v1.Descriptor   // the last of Documents
	Blobs     []v1.Descriptor // layers and configurations, each once
	Documents []v1.Descriptor // manifests and indexes
	// Part says that the name stands for an index of which the store does
	// not have all images, so that Root is that of one platform.
	Part bool
}

// Content lists what an image consists of. Where it was chosen from an index,
// that is the whole index if the store has all of its images, and single is
// not set.
func (s *Store) Content(i *Image, single bool) (*Content, error) {
	c, err := s.content(i, single)
	if err != nil {
		return nil, &Error{Op: "read image", Ref: i.Name, Err: err}
	}
	return c, nil
}

func (s *Store) content(i *Image, single bool) (*Content, error) {
	r, err := s.readRecord(recordFile(i.Name, i.Platform))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	c := &Content{ID: r.Config}
	if !i.Untagged() {
		c.Name = i.Name
	}
	if r.Target != r.Manifest.Digest && !single {
		text, err := s.readBlob(r.Target)
		if err == nil {
			root := v1.Descriptor{Digest: r.Target, Size: int64(len(text))}
			if err = c.add(s, root, 0); err == nil {
				return c, nil
			}
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		*c = Content{ID: r.Config, Name: c.Name, Part: true}
	}
	return c, c.add(s, r.Manifest, 0)
}

// maxNesting is how deep indexes may be in indexes.
const maxNesting = 8

// add adds a document and before it what it refers to. fs.ErrNotExist means
// that the store lacks something.
func (c *Content) add(s *Store, d v1.Descriptor, depth int) error {
	text, err := s.readBlob(d.Digest)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	doc, err := parseDocument(text, d.MediaType)
	if err != nil {
		return err
	}
	if depth > maxNesting {
		return unsupportedf("indexes nested more than %d deep", maxNesting)
	}
	if doc.Config != nil {
		for _, b := range append(doc.Layers, *doc.Config) {
			if err := c.addBlob(s, b); err != nil {
				return err
			}
		}
	}
	for _, m := range doc.Manifests {
		if err := c.add(s, m, depth+1); err != nil {
			return err
		}
	}
	c.Root = v1.Descriptor{MediaType: doc.MediaType, Digest: d.Digest, Size: int64(len(text))}
	c.Documents = append(c.Documents, c.Root)
	return nil
}

func (c *Content) addBlob(s *Store, d v1.Descriptor) error {
	for _, have := range c.Blobs {
		if have.Digest == d.Digest {
			return nil
		}
	}
	if _, err := os.Stat(s.blobPath(d.Digest)); err != nil {
		return fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	c.Blobs = append(c.Blobs, v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size})
	return nil
}

// OpenBlob opens a blob of the store. Reading it to its end verifies it.
func (s *Store) OpenBlob(d v1.Descriptor) (io.ReadCloser, error) {
	f, err := os.Open(s.blobPath(d.Digest))
	if err != nil {
		return nil, &Error{Op: "read blob", Ref: string(d.Digest), Err: err}
	}
	return struct {
		io.Reader
		io.Closer
	}{newVerifier(f, "blob", d.Digest, d.Size), f}, nil
}

// configOf reads a manifest and the configuration that it names.
func (s *Store) configOf(manifest digest.Digest) (*document, *v1.Image, []byte, error) {
	text, err := s.readBlob(manifest)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("manifest: %w", err)
	}
	doc, err := parseDocument(text, "")
	if err != nil {
		return nil, nil, nil, err
	}
	if doc.Config == nil {
		return nil, nil, nil, unsupportedf("an index where a manifest should be")
	}
	if text, err = s.readBlob(doc.Config.Digest); err != nil {
		return nil, nil, nil, fmt.Errorf("configuration: %w", err)
	}
	config := &v1.Image{}
	if err := json.Unmarshal(text, config); err != nil {
		return nil, nil, nil, unsupportedf("configuration: %v", err)
	}
	if len(config.RootFS.DiffIDs) != len(doc.Layers) {
		return nil, nil, nil, unsupportedf("configuration with %d diff ids for %d layers", len(config.RootFS.DiffIDs), len(doc.Layers))
	}
	return doc, config, text, nil
}
