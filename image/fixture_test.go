package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// fixture is a set of blobs and the names of manifests among them.
type fixture struct {
	blobs map[digest.Digest][]byte
	tags  map[string]v1.Descriptor
}

func newFixture() *fixture {
	return &fixture{blobs: map[digest.Digest][]byte{}, tags: map[string]v1.Descriptor{}}
}

func (f *fixture) add(mediaType string, data []byte) v1.Descriptor {
	d := digest.FromBytes(data)
	f.blobs[d] = data
	return v1.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (f *fixture) addJSON(mediaType string, v any) v1.Descriptor {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return f.add(mediaType, text)
}

// testLayer is a layer as it is and as it is sent.
type testLayer struct {
	mediaType     string
	plain, packed []byte
}

// tarOf makes a tar of files with their content; an empty one is a directory.
func tarOf(files ...string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}
		if files[i+1] == "" {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		_, _ = w.Write([]byte(files[i+1]))
	}
	w.Close()
	return b.Bytes()
}

func gzipped(plain []byte) testLayer {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(plain)
	w.Close()
	return testLayer{v1.MediaTypeImageLayerGzip, plain, b.Bytes()}
}

func zstded(plain []byte) testLayer {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	_, _ = w.Write(plain)
	w.Close()
	return testLayer{v1.MediaTypeImageLayerZstd, plain, b.Bytes()}
}

// image adds an image and gives it a tag. edit may change what is wrong with
// it.
func (f *fixture) image(tag string, config v1.ImageConfig, layers []testLayer, edit func(*v1.Manifest, *v1.Image)) v1.Descriptor {
	c := v1.Image{Platform: HostPlatform(), Config: config, RootFS: v1.RootFS{Type: "layers"}}
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, digest.FromBytes(l.plain))
		m.Layers = append(m.Layers, f.add(l.mediaType, l.packed))
	}
	m.Config.MediaType = v1.MediaTypeImageConfig
	if edit != nil {
		edit(&m, &c)
	}
	if m.Config.Digest == "" {
		d := f.addJSON(m.Config.MediaType, c)
		m.Config.Digest, m.Config.Size = d.Digest, d.Size
	}
	d := f.addJSON(m.MediaType, m)
	f.tags[tag] = d
	return d
}

// layerOf is the digest of a layer's blob.
func (f *fixture) layerOf(tag string, n int) digest.Digest {
	var m v1.Manifest
	if err := json.Unmarshal(f.blobs[f.tags[tag].Digest], &m); err != nil {
		panic(err)
	}
	return m.Layers[n].Digest
}

// layout writes the fixture as an OCI image layout.
func (f *fixture) layout(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	index := v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []v1.Descriptor{}}
	for tag, d := range f.tags {
		d.Annotations = map[string]string{v1.AnnotationRefName: tag}
		index.Manifests = append(index.Manifests, d)
	}
	write := func(name string, text []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	write("index.json", text)
	write("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	for d, data := range f.blobs {
		write(blobName(d), data)
	}
	return dir
}

// twoLayers is an image with something in each of two layers.
func (f *fixture) twoLayers(tag string) v1.Descriptor {
	return f.image(tag, v1.ImageConfig{Cmd: []string{"/bin/sh"}}, []testLayer{
		gzipped(tarOf("etc/", "", "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", "low", "low")),
		gzipped(tarOf("etc/", "", "etc/hostname", "name\n", ".wh.low", "x")),
	}, nil)
}

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustRef(t testing.TB, s string) Reference {
	t.Helper()
	r, err := ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// listing tells what the store shows to others: names, layers and blobs.
func listing(t testing.TB, s *Store) string {
	t.Helper()
	var parts []string
	for name, dir := range map[string]string{"names": namesDir, "layers": layersDir, "blobs": blobsDir, "tmp": tmpDir} {
		entries, err := os.ReadDir(s.path(dir))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, fmt.Sprintf("%s=%d", name, len(entries)))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func readFile(t testing.TB, i *Image, path string) string {
	t.Helper()
	f, err := i.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
