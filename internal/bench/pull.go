package main

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// The cases of pulls: from a registry on loopback into an empty store on
// tmpfs, so that neither a network nor a disk is measured.

// pullCase makes a case. Images are made by prepare, the first tag is pulled by
// all, and the others by airplant alone, to show how time and memory grow.
// before, if any, is in the store when the clock starts.
func pullCase(name, what, before string, rounds int, prepare func(*puller) error, tags ...string) benchCase {
	return benchCase{name: name, what: what, rounds: rounds, subjects: func(b *bench) []subject {
		p, err := newPuller(b)
		if err == nil {
			err = prepare(p)
		}
		if err != nil {
			return []subject{{name: "airplant", err: err, done: p.remove}}
		}
		subjects := []subject{p.airplant(before, tags[0]), p.podman(before, tags[0]), p.umoci(before, tags[0])}
		for _, tag := range tags[1:] {
			s := p.airplant(before, tag)
			s.name = "airplant, " + tag
			subjects = append(subjects, s)
		}
		last := &subjects[len(subjects)-1]
		done := last.done
		last.done = func() {
			done()
			p.remove()
		}
		return subjects
	}}
}

func pullCases() []benchCase {
	debian := func(p *puller) error { return p.debian("debian", v1.MediaTypeImageLayerGzip) }
	return []benchCase{
		pullCase("pull-gzip", "pull and unpack Debian, gzip; the aim is at most half of the best peer", "", 10, debian, "debian"),
		pullCase("pull-zstd", "the same, zstd", "", 10,
			func(p *puller) error { return p.debian("debian", v1.MediaTypeImageLayerZstd) }, "debian"),
		pullCase("pull-shared", "pull an image with one small layer over that Debian, which is there", "debian", 10, debian, "more"),
		pullCase("pull-hundred", "pull an image of 100 layers, 100 files each", "", 3, hundred, "100-layers", "50-layers"),
		pullCase("pull-large", "pull an image with a layer of 2 GB", "", 2, large, "2-GB", "1-GB"),
		pullCase("pull-files", "pull an image with a layer of 100,000 files", "", 3, manyFiles, "100000-files", "50000-files"),
	}
}

func isPull(name string) bool { return strings.HasPrefix(name, "pull-") }

// puller is the registry and the stores of a case.
type puller struct {
	*bench
	dir    string // on tmpfs
	origin *origin
	zstd   bool
}

func newPuller(b *bench) (*puller, error) {
	p := &puller{bench: b}
	parent := b.Dir
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) == nil && st.Type == unix.TMPFS_MAGIC && st.Bavail*uint64(st.Bsize) > 8<<30 {
		parent = "/dev/shm"
	}
	var err error
	if p.dir, err = os.MkdirTemp(parent, "airplant-bench-"); err != nil {
		return p, err
	}
	p.origin, err = newOrigin(filepath.Join(p.dir, "registry"))
	return p, err
}

func (p *puller) remove() {
	if p.origin != nil {
		p.origin.close()
	}
	clearDir(p.dir)
}

// clearDir removes a tree in which directories may not be writable.
func clearDir(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintf(os.Stderr, "bench: left behind: %v\n", err)
	}
}

func (p *puller) airplant(before, tag string) subject {
	own := *p.bench
	own.env = append(slices.DeleteFunc(slices.Clone(p.env), func(v string) bool {
		return strings.HasPrefix(v, "XDG_DATA_HOME=")
	}), "XDG_DATA_HOME="+filepath.Join(p.dir, "airplant"))
	airplant := own.path("bin/airplant")
	reset := func() error { return own.exec(airplant, "system", "reset", "-f") }
	pull := func(tag string) error { return own.exec(airplant, "pull", "-q", p.origin.name(tag)) }
	return subject{
		name: "airplant", err: p.runtimes()[0].err,
		ready: func() error { return afterwards(reset(), before, pull) },
		run:   func(int) error { return pull(tag) },
		peak:  &own.peak,
		done:  func() { _ = reset() },
	}
}

// afterwards pulls what shall be there, once the store is empty.
func afterwards(err error, before string, pull func(string) error) error {
	if err != nil || before == "" {
		return err
	}
	return pull(before)
}

func (p *puller) podman(before, tag string) subject {
	podman, err := p.bench.podmanIn(filepath.Join(p.dir, "podman"))
	own := *p.bench
	empty := func() error { return own.exec(podman("rmi", "--all", "--force")...) }
	pull := func(tag string) error {
		return own.exec(podman("pull", "--quiet", "--tls-verify=false", p.origin.name(tag))...)
	}
	return subject{
		name: "podman", err: err,
		ready: func() error { return afterwards(empty(), before, pull) },
		run:   func(int) error { return pull(tag) },
		peak:  &own.peak,
		done:  func() { p.bench.endPodman(podman, filepath.Join(p.dir, "podman")) },
	}
}

// umoci unpacks what skopeo copied. umoci knows no store of unpacked layers.
func (p *puller) umoci(before, tag string) subject {
	skopeo, err := find("skopeo")
	umoci, err2 := find("umoci")
	layout, bundle := filepath.Join(p.dir, "layout"), filepath.Join(p.dir, "bundle")
	if p.zstd {
		err2 = errors.Join(err2, fmt.Errorf("%w: umoci 0.4 knows no zstd", errUnable))
	}
	own := *p.bench
	copied := func(tag string) error {
		return own.exec(skopeo, "copy", "--quiet", "--src-tls-verify=false", "docker://"+p.origin.name(tag), "oci:"+layout+":"+tag)
	}
	empty := func() {
		clearDir(layout)
		clearDir(bundle)
	}
	return subject{
		name: "skopeo and umoci", err: errors.Join(err, err2),
		ready: func() error {
			empty()
			return afterwards(nil, before, copied)
		},
		run: func(int) error {
			if err := copied(tag); err != nil {
				return err
			}
			return own.exec(umoci, "unpack", "--rootless", "--image", layout+":"+tag, bundle)
		},
		peak: &own.peak,
		done: empty,
	}
}

// debianLayout makes the image of Debian once on a machine.
func debianLayout() (string, error) {
	dir := "/var/cache/airplant-test/debian"
	if _, err := os.Stat(filepath.Join(dir, v1.ImageIndexFile)); err != nil && os.Geteuid() != 0 {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "airplant-test", "debian")
	}
	if text, err := exec.Command("testdata/debian-image.sh", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("make an image of Debian: %w: %s", err, text)
	}
	return dir, nil
}

// plainDebian opens the uncompressed layer of the Debian image.
func (p *puller) plainDebian() (io.ReadCloser, error) {
	if p.Debian == "" {
		return nil, errors.New("no image of Debian could be made")
	}
	var index v1.Index
	var m v1.Manifest
	blob := func(d v1.Descriptor) string { return filepath.Join(p.Debian, "blobs/sha256", d.Digest.Encoded()) }
	if err := readJSON(filepath.Join(p.Debian, v1.ImageIndexFile), &index); err != nil {
		return nil, err
	}
	if err := readJSON(blob(index.Manifests[0]), &m); err != nil {
		return nil, err
	}
	f, err := os.Open(blob(m.Layers[0]))
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	return struct {
		io.Reader
		io.Closer
	}{z, f}, err
}

func readJSON(name string, to any) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, to)
}

func (p *puller) debian(tag, mediaType string) error {
	p.zstd = mediaType == v1.MediaTypeImageLayerZstd
	l, err := p.origin.layer(mediaType, p.writeDebian)
	if err != nil {
		return err
	}
	more, err := p.origin.layer(mediaType, func(w io.Writer) error { return files(w, 0, 100) })
	return errors.Join(err, p.origin.image(tag, l), p.origin.image("more", l, more))
}

func (p *puller) writeDebian(w io.Writer) error {
	r, err := p.plainDebian()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

func hundred(p *puller) error {
	var layers []pack
	for i := range 100 {
		l, err := p.origin.layer(v1.MediaTypeImageLayerGzip, func(w io.Writer) error { return files(w, i, 100) })
		if err != nil {
			return err
		}
		layers = append(layers, l)
	}
	return errors.Join(p.origin.image("100-layers", layers...), p.origin.image("50-layers", layers[:50]...))
}

func manyFiles(p *puller) error {
	for _, n := range []int{50_000, 100_000} {
		l, err := p.origin.layer(v1.MediaTypeImageLayerGzip, func(w io.Writer) error { return files(w, 0, n) })
		if err == nil {
			err = p.origin.image(fmt.Sprintf("%d-files", n), l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// large makes layers of one file, which repeats the programs of Debian: their
// distance is far beyond what gzip remembers.
func large(p *puller) error {
	for n := range int64(2) {
		size := (n + 1) * 1_000_000_000
		l, err := p.origin.layer(v1.MediaTypeImageLayerGzip, func(w io.Writer) error {
			tw := tar.NewWriter(w)
			if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "large", Mode: 0o644, Size: size}); err != nil {
				return err
			}
			return errors.Join(p.repeat(tw, size), tw.Close())
		})
		if err == nil {
			err = p.origin.image(fmt.Sprintf("%d-GB", n+1), l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *puller) repeat(w io.Writer, left int64) error {
	for left > 0 {
		r, err := p.plainDebian()
		if err != nil {
			return err
		}
		n, err := io.Copy(w, io.LimitReader(r, left))
		left -= n
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}
