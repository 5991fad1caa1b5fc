package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// TestCheckRepair breaks a store in several ways; each is found, and mended from
// the registry or from the blob alone.
func TestCheckRepair(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	f.twoLayers("v1")
	f.image("v2", v1.ImageConfig{}, []testLayer{zstded(tarOf("other", "text"))}, nil)
	host, count := f.serve(t, nil)
	s := newStore(t)
	var images []*Image
	for _, tag := range []string{"v1", "v2"} {
		i, err := s.Pull(t.Context(), mustRef(t, host+"/a:"+tag), able())
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, i)
	}
	top := images[0].Layers[0]
	check := func(repair bool) []Problem {
		t.Helper()
		list, err := s.Check(t.Context(), CheckOptions{Repair: repair, Pull: able()})
		if err != nil {
			t.Errorf("check: %v", err)
		}
		return list
	}
	if got := check(false); len(got) != 0 {
		t.Fatalf("an intact store has %v", got)
	}
	config := s.blobPath(images[0].ConfigDigest)
	manifest := s.blobPath(images[1].ManifestDigest)
	for name, spoil := range map[string]func() error{
		"content":   func() error { return os.WriteFile(top+"/etc/hostname", []byte("evil\n"), 0o644) },
		"size":      func() error { return os.Truncate(top+"/etc/hostname", 0) },
		"mode":      func() error { return os.Chmod(top+"/etc/hostname", 0o4755) },
		"extra":     func() error { return os.WriteFile(top+"/more", nil, 0o644) },
		"gone":      func() error { return os.Remove(top + "/etc/hostname") },
		"attribute": func() error { return unix.Setxattr(top+"/etc", "user.overlay.opaque", []byte("y"), 0) },
		"layer":     func() error { return os.RemoveAll(filepath.Dir(top)) },
		"config":    func() error { return os.WriteFile(config, []byte("{}"), 0o600) },
		"manifest":  func() error { return os.Remove(manifest) },
		"blob":      func() error { return os.Truncate(s.blobPath(f.layerOf("v1", 0)), 10) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if got := check(false); len(got) != 1 {
			t.Errorf("%s: found %v", name, got)
			continue
		}
		before := count.total()
		got := check(true)
		if len(got) != 1 || !got[0].Repaired {
			t.Errorf("%s: repaired %v", name, got)
		}
		if asked := count.total() != before; asked != (name == "config" || name == "manifest" || name == "blob") {
			t.Errorf("%s: the registry was asked: %v", name, asked)
		}
		if got := check(false); len(got) != 0 {
			t.Errorf("%s: afterwards %v", name, got)
		}
		if got := readFile(t, images[0], "etc/hostname"); got != "name\n" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if err := os.Remove(top + "/etc/hostname"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Check(t.Context(), CheckOptions{Repair: true, Busy: []string{top}, Pull: able()}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a layer in use: %v", err)
	}
}

// TestPrune removes what nobody needs, and nothing else.
func TestPrune(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	f.twoLayers("v1")
	f.image("v2", v1.ImageConfig{}, []testLayer{zstded(tarOf("other", "text"))}, nil)
	host, _ := f.serve(t, nil)
	s := newStore(t)
	i, err := s.Pull(t.Context(), mustRef(t, host+"/a:v1"), able())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.Pull(t.Context(), mustRef(t, host+"/a:v2"), able()); err != nil {
		t.Fatal(err)
	}
	partial := s.path(tmpDir, partialPrefix+strings.Repeat("a", 64))
	if err := errors.Join(os.Mkdir(partial, 0o700), os.WriteFile(filepath.Join(partial, partialName), []byte("12345"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.ForgetOnly(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	u, err := s.Usage(i.Layers[1:])
	if err != nil || u.Images != 1 || u.Layers != 3 || u.Blobs != 7 || u.Partial != 1 || u.PartialSize != 5 || u.Unused <= 5 {
		t.Errorf("usage %+v, %v", u, err)
	}
	release, err := s.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), collectWait/10)
	defer cancel()
	if _, err := s.Prune(ctx, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("while somebody holds the store: %v", err)
	}
	release()
	freed, err := s.Prune(t.Context(), i.Layers[1:]) // a container has the lower layer
	if err != nil || freed != u.Unused {
		t.Errorf("freed %d of %d, %v", freed, u.Unused, err)
	}
	if got := listing(t, s); got != "blobs=3 layers=2 names=1 tmp=0" {
		t.Errorf("holds %s", got)
	}
}
