package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// origin is a registry on loopback with the images that are pulled. It runs in
// this process, which has nothing else to do meanwhile; all subjects pay alike.
type origin struct {
	dir    string // of blobs, by digest
	host   string
	tags   map[string]v1.Descriptor
	server *http.Server
}

func newOrigin(dir string) (*origin, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{dir: dir, host: l.Addr().String(), tags: map[string]v1.Descriptor{}}
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: time.Minute}
	go func() { _ = o.server.Serve(l) }()
	return o, nil
}

func (o *origin) close() { _ = o.server.Close() }

// name is what a subject pulls.
func (o *origin) name(tag string) string { return o.host + "/bench:" + tag }

// ServeHTTP answers what the distribution-spec says of pulling.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/bench/")
	if !ok { // the question whether there is a registry
		_, _ = io.WriteString(w, "{}")
		return
	}
	kind, last, _ := strings.Cut(rest, "/")
	d := digest.Digest(last)
	if kind == "manifests" {
		w.Header().Set("Content-Type", v1.MediaTypeImageManifest)
		if tagged, ok := o.tags[last]; ok {
			d = tagged.Digest
		}
		w.Header().Set("Docker-Content-Digest", string(d))
	}
	f, err := os.Open(o.blob(d))
	if d.Validate() != nil || err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	http.ServeContent(w, r, "", time.Time{}, f)
}

func (o *origin) blob(d digest.Digest) string { return filepath.Join(o.dir, d.Encoded()) }

// pack is a layer as it is stored.
type pack struct {
	v1.Descriptor
	diffID digest.Digest
}

// packer compresses into a blob and takes both digests.
type packer struct {
	file   *os.File
	packed hash.Hash
	plain  hash.Hash
	zip    io.WriteCloser
	io.Writer
}

func (o *origin) pack(mediaType string) (*packer, error) {
	f, err := os.CreateTemp(o.dir, "new-")
	if err != nil {
		return nil, err
	}
	p := &packer{file: f, packed: sha256.New(), plain: sha256.New()}
	out := io.MultiWriter(f, p.packed)
	if mediaType == v1.MediaTypeImageLayerZstd {
		p.zip, err = zstd.NewWriter(out)
	} else {
		p.zip, err = gzip.NewWriterLevel(out, 6)
	}
	p.Writer = io.MultiWriter(p.zip, p.plain)
	return p, err
}

// store ends a blob.
func (o *origin) store(p *packer, mediaType string) (pack, error) {
	err := p.zip.Close()
	size, err2 := p.file.Seek(0, io.SeekEnd)
	l := pack{v1.Descriptor{MediaType: mediaType, Digest: digest.NewDigest(digest.SHA256, p.packed), Size: size}, digest.NewDigest(digest.SHA256, p.plain)}
	return l, errors.Join(err, err2, p.file.Close(), os.Rename(p.file.Name(), o.blob(l.Digest)))
}

// layer compresses what write makes.
func (o *origin) layer(mediaType string, write func(io.Writer) error) (pack, error) {
	p, err := o.pack(mediaType)
	if err != nil {
		return pack{}, err
	}
	err = write(p)
	l, err2 := o.store(p, mediaType)
	return l, errors.Join(err, err2)
}

// image gives an image of layers a tag.
func (o *origin) image(tag string, layers ...pack) error {
	config := v1.Image{
		Platform: v1.Platform{Architecture: runtime.GOARCH, OS: "linux"},
		Config:   v1.ImageConfig{Cmd: []string{"sh"}}, RootFS: v1.RootFS{Type: "layers"},
	}
	m := v1.Manifest{Versioned: imagespec.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diffID)
		m.Layers = append(m.Layers, l.Descriptor)
	}
	var err error
	if m.Config, err = o.document(v1.MediaTypeImageConfig, config); err != nil {
		return err
	}
	o.tags[tag], err = o.document(m.MediaType, m)
	return err
}

func (o *origin) document(mediaType string, content any) (v1.Descriptor, error) {
	text, err := json.Marshal(content)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	return d, os.WriteFile(o.blob(d.Digest), text, 0o644)
}

// files writes n small files, a hundred in a directory, which no other number
// of layer has.
func files(w io.Writer, number, n int) error {
	tw := tar.NewWriter(w)
	for i := range n {
		dir := fmt.Sprintf("layer%d/dir%d/", number, i/100)
		if i%100 == 0 {
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
				return err
			}
		}
		text := strings.Repeat(fmt.Sprintf("line of file %d\n", i), 100)
		h := &tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%sfile%d", dir, i), Mode: 0o644, Size: int64(len(text))}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.WriteString(tw, text); err != nil {
			return err
		}
	}
	return tw.Close()
}
