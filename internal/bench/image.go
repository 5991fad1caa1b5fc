package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	imagespec "github.com/opencontainers/image-spec/specs-go"
	"github.com/opencontainers/image-spec/specs-go/v1"
)

// runImage times the whole way of people: podman with crun, and the bundle
// with the same map for what the image costs on top.
func runImage(b *bench) []subject {
	source := "oci:" + b.Image
	var err error
	if b.Image == "" {
		source = "oci:" + b.path("image") + ":bench"
		err = b.busyboxImage(b.path("image"))
	}
	err = errors.Join(b.runtimes()[0].err, err)
	subjects := []subject{b.runHere("airplant", source, err)}
	subjects = append(subjects, b.crowd(source, err))
	bundle := runSubIDs(b)[0]
	bundle.name = "airplant oci run"
	return append(subjects, bundle, b.podman(source, err))
}

// stopped is how many containers a crowded store holds.
const stopped = 999

// crowd runs an image where that many stopped containers are kept.
func (b *bench) crowd(source string, err error) subject {
	other := *b
	other.env = append(slices.DeleteFunc(slices.Clone(b.env), func(v string) bool {
		return strings.HasPrefix(v, "XDG_DATA_HOME=")
	}), "XDG_DATA_HOME="+b.path("crowd"))
	name := fmt.Sprintf("airplant, %d stopped", stopped)
	for i := 0; i < stopped && err == nil; i++ {
		err = other.exec(b.path("bin/airplant"), "run", "--name", fmt.Sprint("stopped-", i), source, "true")
	}
	return other.runHere(name, source, err)
}

// runHere runs an image from the store of b's environment.
func (b *bench) runHere(name, source string, err error) subject {
	airplant := b.path("bin/airplant")
	return subject{
		name: name, err: err,
		run: func(int) error {
			return b.exec(airplant, "run", "--rm", "--network", "none", source, "true")
		},
		done: func() {
			if err == nil {
				_ = b.exec(airplant, "system", "reset", "-f") // for what the removal of the stage may not touch
			}
		},
	}
}

// podmanIn is podman's command line with a store of its own.
func (b *bench) podmanIn(store string) (func(args ...string) []string, error) {
	path, err := find("podman")
	return func(args ...string) []string {
		argv := []string{
			path, "--root", store, "--runroot", filepath.Join(b.State, "podman"), "--runtime", "crun",
			"--cgroup-manager", "cgroupfs", "--events-backend", "none", "--storage-driver", "overlay",
		}
		return append(argv, args...)
	}, err
}

// endPodman removes a store of podman's and ends its pause process.
func (b *bench) endPodman(podman func(...string) []string, store string) {
	for _, argv := range [][]string{podman("rmi", "--all", "--force"), podman("system", "migrate")} {
		if err := b.exec(argv...); err != nil {
			fmt.Fprintf(os.Stderr, "bench: clean up: %v\n", err)
		}
	}
	_ = b.exec(podman("unshare", "rm", "-rf", store)...) // root removes it anyway
	_ = b.exec(podman("system", "migrate")...)
	b.reap()
}

// podman keeps its store in the stage. Its pause process stays between runs,
// as it does for people, and is ended at the end.
func (b *bench) podman(source string, err error) subject {
	store := b.path("podman")
	podman, missing := b.podmanIn(store)
	s := subject{name: "podman with crun", err: errors.Join(missing, err)}
	if s.err != nil {
		return s
	}
	var image string
	if image, s.err = b.output(podman("pull", "--quiet", source)...); s.err != nil {
		return s
	}
	s.run = func(int) error {
		return b.exec(podman("run", "--rm", "--network", "none", image, "true")...)
	}
	s.done = func() { b.endPodman(podman, store) }
	return s
}

// busyboxImage writes an OCI layout with one layer: busybox as sh and true.
func (b *bench) busyboxImage(dir string) error {
	busybox, err := os.ReadFile(b.path("rootfs/bin/busybox"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs/sha256"), 0o755); err != nil {
		return err
	}
	plain, packed, err := layer(busybox)
	if err != nil {
		return err
	}
	config := v1.Image{
		Platform: v1.Platform{Architecture: runtime.GOARCH, OS: "linux"},
		Config:   v1.ImageConfig{Env: []string{"PATH=/bin"}, Cmd: []string{"sh"}},
		RootFS:   v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(plain)}},
	}
	manifest := v1.Manifest{Versioned: imagespec.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	index := v1.Index{Versioned: imagespec.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex}
	store := func(mediaType string, content any) (d v1.Descriptor) {
		text, isBytes := content.([]byte)
		if !isBytes && err == nil {
			text, err = json.Marshal(content)
		}
		d = v1.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "blobs/sha256", d.Digest.Encoded()), text, 0o644)
		}
		return d
	}
	manifest.Layers = []v1.Descriptor{store(v1.MediaTypeImageLayerGzip, packed)}
	manifest.Config = store(v1.MediaTypeImageConfig, config)
	entry := store(v1.MediaTypeImageManifest, manifest)
	entry.Annotations = map[string]string{v1.AnnotationRefName: "bench"}
	entry.Platform = &config.Platform
	index.Manifests = []v1.Descriptor{entry}
	text, err2 := json.Marshal(index)
	return errors.Join(err, err2,
		os.WriteFile(filepath.Join(dir, v1.ImageIndexFile), text, 0o644),
		os.WriteFile(filepath.Join(dir, v1.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
}

func layer(busybox []byte) (plain, packed []byte, err error) {
	var archive, compressed bytes.Buffer
	w := tar.NewWriter(&archive)
	headers := []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755, Size: int64(len(busybox))},
		{Typeflag: tar.TypeSymlink, Name: "bin/sh", Linkname: "busybox", Mode: 0o777},
		{Typeflag: tar.TypeSymlink, Name: "bin/true", Linkname: "busybox", Mode: 0o777},
	}
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			return nil, nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if _, err := w.Write(busybox); err != nil {
			return nil, nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, nil, err
	}
	z := gzip.NewWriter(&compressed)
	_, err = z.Write(archive.Bytes())
	err = errors.Join(err, z.Close()) // before the bytes are taken
	return archive.Bytes(), compressed.Bytes(), err
}
