package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"airplant/image/inflate"

	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// TestPullLayout pulls images of every form from a layout and an archive.
func TestPullLayout(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	f.twoLayers("gzip")
	plain := tarOf("etc/", "", "etc/passwd", "x", "low", "low")
	top := tarOf("etc/", "", "etc/hostname", "name\n", ".wh.low", "x")
	f.image("zstd", v1.ImageConfig{}, []testLayer{zstded(plain), zstded(top)}, nil)
	f.image("plain", v1.ImageConfig{}, []testLayer{
		{v1.MediaTypeImageLayer, plain, plain}, {v1.MediaTypeImageLayerGzip, top, top}, // a lie that is common
	}, nil)
	// Members as pigz -i and concatenation make them, and what follows the
	// end of the archive.
	long := append(append([]byte{}, top...), make([]byte, 5000)...)
	members := testLayer{v1.MediaTypeImageLayerGzip, long, append(gzipped(long[:700]).packed, gzipped(long[700:]).packed...)}
	f.image("members", v1.ImageConfig{}, []testLayer{gzipped(plain), members}, nil)
	f.image("docker", v1.ImageConfig{}, []testLayer{gzipped(plain), gzipped(top)}, func(m *v1.Manifest, _ *v1.Image) {
		m.MediaType, m.Config.MediaType = dockerManifest, dockerConfig
		m.Layers[0].MediaType, m.Layers[1].MediaType = dockerLayer+".gzip", dockerLayer+".gzip"
	})
	f.image("repeated", v1.ImageConfig{}, []testLayer{gzipped(plain), gzipped(tarOf()), gzipped(tarOf()), gzipped(top), gzipped(tarOf())}, nil)
	dir := f.layout(t)
	for _, tag := range []string{"gzip", "zstd", "plain", "members", "docker", "repeated"} {
		t.Run(tag, func(t *testing.T) {
			s := newStore(t)
			i, err := s.Pull(t.Context(), mustRef(t, "oci:"+dir+":"+tag), able())
			if err != nil {
				t.Fatal(err)
			}
			if got := readFile(t, i, "/etc/hostname"); got != "name\n" {
				t.Errorf("hostname %q", got)
			}
			if got := readFile(t, i, "/low"); !strings.Contains(got, "no such file") {
				t.Errorf("a whiteout hides nothing: %q", got)
			}
			again, err := s.Resolve(mustRef(t, "oci:"+dir+":"+tag), v1.Platform{})
			if err != nil || again.ManifestDigest != f.tags[tag].Digest || strings.Join(again.Layers, ":") != strings.Join(i.Layers, ":") {
				t.Errorf("resolved to %+v, %v", again, err)
			}
			if !strings.Contains(listing(t, s), "tmp=0") {
				t.Errorf("left in tmp: %s", listing(t, s))
			}
		})
	}
}

// TestPullNothingHalf checks that what is wrong with an image is told, and
// that none of it becomes visible.
func TestPullNothingHalf(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	good, other := gzipped(tarOf("a", "a")), gzipped(tarOf("b", "b"))
	cases := map[string]struct {
		edit func(*fixture, *v1.Manifest, *v1.Image)
		is   error
		says string
	}{
		"wrong digest": {func(f *fixture, m *v1.Manifest, _ *v1.Image) {
			f.blobs[m.Layers[0].Digest] = append([]byte{}, other.packed[:len(other.packed)-1]...)
			m.Layers[0].Size = int64(len(other.packed) - 1)
		}, ErrDigest, "layer"},
		"flipped bit": {func(f *fixture, m *v1.Manifest, _ *v1.Image) {
			b := append([]byte{}, good.packed...)
			b[len(b)/2] ^= 1
			f.blobs[m.Layers[0].Digest] = b
		}, ErrDigest, "want"},
		"truncated": {func(f *fixture, m *v1.Manifest, _ *v1.Image) {
			f.blobs[m.Layers[0].Digest] = good.packed[:len(good.packed)/2]
		}, ErrDigest, "ends after"},
		"too long": {func(f *fixture, m *v1.Manifest, _ *v1.Image) {
			f.blobs[m.Layers[0].Digest] = append(append([]byte{}, good.packed...), make([]byte, 1<<20)...)
		}, ErrDigest, "more bytes"},
		"no size": {func(_ *fixture, m *v1.Manifest, _ *v1.Image) { m.Layers[0].Size = 0 }, ErrDigest, "more bytes"},
		"wrong diff id": {func(_ *fixture, _ *v1.Manifest, c *v1.Image) {
			c.RootFS.DiffIDs[1] = digest.FromString("x")
		}, ErrDigest, "unpacked layer"},
		"trailing bytes": {func(f *fixture, m *v1.Manifest, _ *v1.Image) {
			d := f.add(m.Layers[0].MediaType, append(append([]byte{}, good.packed...), "trailing bytes of any kind"...))
			m.Layers[0] = d
		}, gzip.ErrHeader, "invalid header"},
		"not a tar": {func(f *fixture, m *v1.Manifest, c *v1.Image) {
			junk := []byte(strings.Repeat("junk ", 1000))
			m.Layers[0] = f.add(v1.MediaTypeImageLayer, junk)
			c.RootFS.DiffIDs[0] = digest.FromBytes(junk)
		}, nil, "invalid layer"},
		"xz": {func(f *fixture, m *v1.Manifest, _ *v1.Image) {
			m.Layers[0] = f.add(v1.MediaTypeImageLayer, []byte("\xfd7zXZ\x00aaaaaaa"))
		}, ErrUnsupported, "xz"},
		"missing blob": {func(f *fixture, m *v1.Manifest, _ *v1.Image) {
			delete(f.blobs, m.Layers[1].Digest)
		}, os.ErrNotExist, "no such file"},
		"diff ids": {func(_ *fixture, _ *v1.Manifest, c *v1.Image) {
			c.RootFS.DiffIDs = c.RootFS.DiffIDs[:1]
		}, ErrUnsupported, "1 diff ids for 2 layers"},
		"platform": {func(_ *fixture, _ *v1.Manifest, c *v1.Image) { c.Architecture = "s390x" }, ErrNoPlatform, "linux/s390x"},
		"config": {func(f *fixture, m *v1.Manifest, _ *v1.Image) {
			m.Config = f.add(v1.MediaTypeImageConfig, []byte("{"))
		}, ErrUnsupported, "configuration"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.image("x", v1.ImageConfig{}, []testLayer{good, other}, func(m *v1.Manifest, i *v1.Image) { c.edit(f, m, i) })
			s := newStore(t)
			ref := mustRef(t, "oci:"+f.layout(t)+":x")
			_, err := s.Pull(t.Context(), ref, able())
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v, %q", err, c.is, c.says)
			}
			if _, err := s.Resolve(ref, v1.Platform{}); !errors.Is(err, ErrNotFound) {
				t.Errorf("resolved: %v", err)
			}
			left := listing(t, s)
			if !strings.Contains(left, "names=0") || !strings.Contains(left, "tmp=0") || strings.Contains(left, "layers=2") {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// TestPullTogether pulls one image from many goroutines: one unpacks each
// layer, the others wait for it.
func TestPullTogether(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	f.twoLayers("a")
	f.image("b", v1.ImageConfig{}, []testLayer{gzipped(tarOf("x", "x")), gzipped(tarOf()), gzipped(tarOf())}, nil)
	dir, storeDir := f.layout(t), t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	unpacked := map[digest.Digest]int{}
	for n := range 32 {
		wg.Go(func() {
			s, err := Open(storeDir) // as another process would
			if err != nil {
				t.Error(err)
				return
			}
			_, err = s.Pull(t.Context(), mustRef(t, "oci:"+dir+":"+string("ab"[n%2])), PullOptions{Gzip: inflate.Gzip, Progress: func(e Event) {
				if e.Kind == LayerDone {
					mu.Lock()
					unpacked[digest.FromString(string(e.Digest)+string("ab"[n%2])+string(rune('0'+e.Layer)))]++
					mu.Unlock()
				}
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(unpacked) != 5 {
		t.Errorf("%d layers were unpacked, want 5", len(unpacked))
	}
	for d, n := range unpacked {
		if n != 1 {
			t.Errorf("%s was unpacked %d times", d, n)
		}
	}
}

// TestSweep checks that the next pull removes what a killed one left, and
// not what a living one works on.
func TestSweep(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	f.twoLayers("x")
	s := newStore(t)
	for _, p := range []string{"layer-dead/layer/diff/etc", "trash-dead/layer", "blob-dead"} {
		if err := os.MkdirAll(s.path(tmpDir, p), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// A dead owner of the very layer that is wanted.
	chain := digest.FromBytes(tarOf("etc/", "", "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", "low", "low"))
	if err := os.MkdirAll(s.path(tmpDir, "layer-"+chain.Encoded(), "layer", "diff", "planted"), 0o700); err != nil {
		t.Fatal(err)
	}
	alive, err := s.workspace(t.Context(), "layer-alive")
	if err != nil {
		t.Fatal(err)
	}
	i, err := s.Pull(t.Context(), mustRef(t, "oci:"+f.layout(t)), able())
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(t, s); !strings.Contains(got, "tmp=1") || !exists(alive.dir) {
		t.Errorf("left: %s", got)
	}
	alive.close()
	if exists(filepath.Join(i.Layers[1], "planted")) {
		t.Error("the leavings of a dead pull are part of a layer")
	}
}

// TestRemove checks what removing an image takes away and what it leaves.
func TestRemove(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	base := gzipped(tarOf("base", "x"))
	f := newFixture()
	f.image("a", v1.ImageConfig{}, []testLayer{base, gzipped(tarOf("a", "x"))}, nil)
	f.image("b", v1.ImageConfig{}, []testLayer{base, gzipped(tarOf("b", "x"))}, nil)
	dir, s := f.layout(t), newStore(t)
	a, b := mustRef(t, "oci:"+dir+":a"), mustRef(t, "oci:"+dir+":b")
	pull := func(r Reference) *Image {
		i, err := s.Pull(t.Context(), r, able())
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	ia, ib := pull(a), pull(b)
	check := func(want string) {
		t.Helper()
		if got := listing(t, s); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	check("blobs=7 layers=3 names=2 tmp=0")
	if text, err := s.ReadBlob(ia.ConfigDigest); err != nil || !strings.Contains(string(text), "diff_ids") {
		t.Errorf("configuration %q, %v", text, err)
	}
	if err := s.Remove(t.Context(), a, ia.Layers); err != nil { // a container uses it
		t.Fatal(err)
	}
	check("blobs=4 layers=3 names=1 tmp=0")
	if err := s.Collect(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	check("blobs=4 layers=2 names=1 tmp=0")
	if readFile(t, ib, "base") != "x" {
		t.Error("a layer of the other image is gone")
	}
	if err := s.Remove(t.Context(), a, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	release, err := s.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), b, nil); err != nil {
		t.Fatal(err)
	}
	check("blobs=4 layers=2 names=0 tmp=0") // held
	release()
	pull(a)
	check("blobs=7 layers=3 names=1 tmp=0")
	if err := s.Remove(t.Context(), a, nil); err != nil {
		t.Fatal(err)
	}
	check("blobs=0 layers=0 names=0 tmp=0")
	list, err := s.Images()
	if err != nil || len(list) != 0 {
		t.Errorf("images %v, %v", list, err)
	}
}

// TestPolicy checks when a source is looked at.
func TestPolicy(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	f.twoLayers("x")
	dir, s := f.layout(t), newStore(t)
	ref := mustRef(t, "oci:"+dir+":x")
	if _, err := s.Pull(t.Context(), ref, PullOptions{Policy: PullNever}); !errors.Is(err, ErrNotFound) {
		t.Errorf("never: %v", err)
	}
	first, err := s.Pull(t.Context(), ref, able())
	if err != nil {
		t.Fatal(err)
	}
	// Somebody writes another image to the layout: the name means that now.
	f.image("x", v1.ImageConfig{User: "7"}, []testLayer{gzipped(tarOf("y", "y"))}, nil)
	if err := os.CopyFS(t.TempDir(), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(f.layout(t))); err != nil {
		t.Fatal(err)
	}
	if i, err := s.Pull(t.Context(), ref, PullOptions{Policy: PullNever}); err != nil || i.ManifestDigest != first.ManifestDigest {
		t.Errorf("never: %v", err)
	}
	second, err := s.Pull(t.Context(), ref, able())
	if err != nil || second.ManifestDigest == first.ManifestDigest || second.Config.Config.User != "7" {
		t.Errorf("changed: %+v, %v", second, err)
	}
	list, err := s.Images()
	// The newer one has the name, and the older one none.
	if err != nil || len(list) != 2 || list[0].Name != ref.String() || !list[1].Untagged() || list[1].ManifestDigest != first.ManifestDigest {
		t.Errorf("images %+v, %v", list, err)
	}
}

func TestNewerFormat(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir + "/layers")
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("layers: %v %v", info, err)
	}
	if tag, err := os.ReadFile(dir + "/layers/CACHEDIR.TAG"); err != nil || !strings.HasPrefix(string(tag), "Signature: 8a477f597d28d172789f06886806bc55\n") {
		t.Errorf("CACHEDIR.TAG: %q, %v", tag, err)
	}
	if err := os.WriteFile(filepath.Join(dir, formatFile), []byte(`{"format":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("got %v", err)
	}
}

// TestNoSpace pulls into a store that is full, and then is not.
func TestNoSpace(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	f := newFixture()
	f.image("big", v1.ImageConfig{}, []testLayer{gzipped(tarOf("big", strings.Repeat("big", 1<<20)))}, nil)
	f.twoLayers("small")
	layout := f.layout(t)
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	_, err = s.Pull(t.Context(), mustRef(t, "oci:"+layout+":big"), able())
	if !errors.Is(err, unix.ENOSPC) || !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("got %v", err)
	}
	if _, err := s.Images(); err != nil {
		t.Error(err)
	}
	if _, err := s.Pull(t.Context(), mustRef(t, "oci:"+layout+":small"), able()); err != nil {
		t.Errorf("the space did not come back: %v", err)
	}
}

func TestCancelledPull(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	f.twoLayers("x")
	s := newStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	held, err := s.workspace(ctx, "layer-"+digest.FromBytes(tarOf("etc/", "", "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", "low", "low")).Encoded())
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = s.Pull(ctx, mustRef(t, "oci:"+f.layout(t)), able())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	held.close()
}

func BenchmarkResolve(b *testing.B) {
	s, ref := newStore(b), mustRef(b, "alpine")
	r := &record{Format: 1, Name: ref.String(), Platform: normalPlatform(v1.Platform{})}
	for _, d := range []*digest.Digest{&r.Target, &r.Manifest.Digest, &r.Config} {
		*d = digest.FromString("x")
	}
	for n := range 10 {
		chain := digest.FromString(string(rune('a' + n)))
		r.Layers = append(r.Layers, chain)
		if err := os.MkdirAll(s.diffPath(chain), 0o700); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.writeRecord(b.Context(), r); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Resolve(ref, v1.Platform{}); err != nil {
			b.Fatal(err)
		}
	}
}
