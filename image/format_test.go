package image

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// storeOfFormat1 was written by the first build that kept this promise: every
// later one opens it. `go test -run TestStoreFormat -update` never touches it;
// a new format gets a file of its own.
const storeOfFormat1 = "testdata/store-format-1.tar.gz"

// TestStoreFormat opens a store that an earlier build wrote.
func TestStoreFormat(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	if _, err := os.Stat(storeOfFormat1); errors.Is(err, os.ErrNotExist) && os.Getenv("AIRPLANT_WRITE_STORE") != "" {
		writeStore(t, os.Getenv("AIRPLANT_WRITE_STORE"))
	}
	dir := t.TempDir()
	unpackStore(t, dir)
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	i, err := s.Resolve(mustRef(t, "registry.example/team/app:v1"), v1.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if readFile(t, i, "etc/hostname") != "name\n" || readFile(t, i, "low") == "low" || i.Config.Config.Cmd[0] != "/bin/sh" {
		t.Errorf("got %+v", i)
	}
	if list, err := s.Check(t.Context(), CheckOptions{Pull: able()}); err != nil || len(list) != 0 {
		t.Errorf("check: %v, %v", list, err)
	}
	if _, err := s.Prune(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if got := listing(t, s); got != "blobs=4 layers=2 names=1 tmp=0" {
		t.Errorf("holds %s", got)
	}
}

// writeStore makes the file; it is for a new format.
func writeStore(t *testing.T, to string) {
	t.Helper()
	f := newFixture()
	f.twoLayers("v1")
	s := newStore(t)
	i, err := s.Pull(t.Context(), mustRef(t, "oci:"+f.layout(t)+":v1"), able())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(t.Context(), i, mustRef(t, "registry.example/team/app:v1")); err != nil {
		t.Fatal(err)
	}
	if err := s.ForgetOnly(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "tar", "-C", s.dir, "--xattrs", "--sort=name", "--exclude=./lock", "-czf", to, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Fatal("written; move it to " + storeOfFormat1)
}

func unpackStore(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(storeOfFormat1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	type dated struct {
		path string
		h    *tar.Header
	}
	var all []dated
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		all = append(all, dated{path, h})
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeReg:
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, text, 0o600)
			}
		case tar.TypeChar:
			err = mkwhiteout(path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := len(all) - 1; n >= 0; n-- { // directories last
		d := all[n]
		if d.h.Typeflag == tar.TypeChar {
			continue
		}
		if err := errors.Join(os.Chmod(d.path, d.h.FileInfo().Mode()), os.Chtimes(d.path, d.h.ModTime, d.h.ModTime)); err != nil {
			t.Fatal(err)
		}
	}
}

func mkwhiteout(path string) error {
	return os.NewSyscallError("mknod", unix.Mknod(path, unix.S_IFCHR, 0))
}
