package image

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// containerdName is the annotation by which containerd and docker find an
// image's name in a layout: org.opencontainers.image.ref.name may be a tag.
const containerdName = "io.containerd.image.name"

// SaveArchive writes images as a tar of an OCI image layout, each blob as it
// is. docker's manifest.json lies beside it, so that every docker can load it.
// The same images give the same bytes.
func (s *Store) SaveArchive(ctx context.Context, images []*Content, out io.Writer) error {
	w := &archiveWriter{tw: tar.NewWriter(out)}
	w.dir("blobs/")
	w.dir("blobs/sha256/")
	for _, d := range allBlobs(images) {
		if err := ctx.Err(); err != nil {
			return err
		}
		in, err := s.OpenBlob(d)
		if err != nil {
			return err
		}
		w.file(blobName(d.Digest), d.Size, in)
		in.Close()
	}
	index, err := json.Marshal(layoutIndex(images))
	if err != nil {
		return err
	}
	w.text(v1.ImageIndexFile, index)
	docker, err := s.dockerEntries(images, blobName, func(l v1.Descriptor, _ digest.Digest) string { return blobName(l.Digest) })
	if err != nil {
		return err
	}
	w.text(dockerManifestFile, docker)
	w.text(v1.ImageLayoutFile, []byte(`{"imageLayoutVersion":"`+v1.ImageLayoutVersion+`"}`))
	return w.end()
}

// archiveWriter writes a tar that depends on nothing but its contents. The
// first error stays.
type archiveWriter struct {
	tw  *tar.Writer
	err error
}

func (w *archiveWriter) dir(name string) {
	if w.err == nil {
		w.err = w.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, Format: tar.FormatUSTAR})
	}
}

func (w *archiveWriter) file(name string, size int64, in io.Reader) {
	if w.err != nil {
		return
	}
	format := tar.FormatUSTAR
	if size >= 1<<33 {
		format = tar.FormatPAX
	}
	w.err = w.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, Format: format})
	if w.err == nil {
		_, w.err = io.Copy(w.tw, in)
	}
}

func (w *archiveWriter) text(name string, text []byte) {
	w.file(name, int64(len(text)), strings.NewReader(string(text)))
}

func (w *archiveWriter) end() error {
	if w.err != nil {
		return w.err
	}
	return w.tw.Close()
}

// allBlobs lists the blobs of several images, documents too, each once and in
// the order of their digests.
func allBlobs(images []*Content) []v1.Descriptor {
	var list []v1.Descriptor
	for _, c := range images {
		list = append(append(list, c.Blobs...), c.Documents...)
	}
	slices.SortFunc(list, func(a, b v1.Descriptor) int { return cmp.Compare(a.Digest, b.Digest) })
	return slices.CompactFunc(list, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest })
}

// layoutIndex is the index.json of a layout with the images.
func layoutIndex(images []*Content) *v1.Index {
	index := &v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{}}
	for _, c := range images {
		index.Manifests = append(index.Manifests, c.entry())
	}
	return index
}

// entry is the descriptor of an image in an index.json.
func (c *Content) entry() v1.Descriptor {
	d := c.Root
	ref, err := ParseReference(c.Name)
	switch {
	case c.Name == "" || err != nil:
	case ref.Transport != Registry:
		if ref.Tag != "" {
			d.Annotations = map[string]string{v1.AnnotationRefName: ref.Tag}
		}
	default:
		d.Annotations = map[string]string{v1.AnnotationRefName: c.Name, containerdName: c.Name}
	}
	return d
}

// SaveLayout writes images to a directory in OCI image layout, which it makes,
// or adds to. An image takes the place of one with the same name.
func (s *Store) SaveLayout(ctx context.Context, images []*Content, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, blobsDir), 0o755); err != nil {
		return err
	}
	index, err := readLayoutIndex(dir)
	if err != nil {
		return err
	}
	for _, d := range allBlobs(images) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.copyBlob(d, filepath.Join(dir, blobName(d.Digest))); err != nil {
			return err
		}
	}
	for _, c := range images {
		e := c.entry()
		index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool {
			name := d.Annotations[v1.AnnotationRefName]
			return name == e.Annotations[v1.AnnotationRefName] && (name != "" || d.Digest == e.Digest)
		})
		index.Manifests = append(index.Manifests, e)
	}
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	layout := []byte(`{"imageLayoutVersion":"` + v1.ImageLayoutVersion + `"}`)
	if err := writeWhole(filepath.Join(dir, v1.ImageLayoutFile), layout); err != nil {
		return err
	}
	return writeWhole(filepath.Join(dir, v1.ImageIndexFile), text)
}

func readLayoutIndex(dir string) (*v1.Index, error) {
	index := layoutIndex(nil)
	text, err := os.ReadFile(filepath.Join(dir, v1.ImageIndexFile))
	if errors.Is(err, fs.ErrNotExist) {
		return index, nil
	}
	if err == nil {
		if err = json.Unmarshal(text, index); err != nil {
			err = fmt.Errorf("%s: %w", v1.ImageIndexFile, err)
		}
	}
	return index, err
}

func (s *Store) copyBlob(d v1.Descriptor, to string) error {
	if info, err := os.Stat(to); err == nil && info.Size() == d.Size {
		return nil
	}
	in, err := s.OpenBlob(d)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeFrom(to, in)
}

func writeWhole(name string, text []byte) error {
	return writeFrom(name, strings.NewReader(string(text)))
}

// writeFrom makes a file that others see whole or not at all.
func writeFrom(name string, in io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".airplant-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, in)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
