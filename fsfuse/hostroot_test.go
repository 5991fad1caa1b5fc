package fsfuse

import (
	"os"
	"path/filepath"
	"testing"
)

// TestHostRootMounts: a directory with a mount below it is taken apart, and a
// file system of the kernel's is left empty, wherever it is.
func TestHostRootMounts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"plain/below", "chroot/proc", "chroot/etc"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	proc := filepath.Join(dir, "chroot/proc")
	list, err := parts(dir, map[string]string{"/": "ext4", proc: "proc"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, p := range list {
		rel, err := filepath.Rel(dir, p.Path)
		if err != nil {
			t.Fatal(err)
		}
		got[rel] = p.Overlay
	}
	want := map[string]bool{"plain": true, "chroot": false, "chroot/proc": false, "chroot/etc": true}
	for name, overlay := range want {
		if have, ok := got[name]; !ok || have != overlay {
			t.Errorf("%s: there %v, an overlay %v, want %v", name, ok, have, overlay)
		}
	}
	if len(got) != len(want) {
		t.Errorf("parts: %v", got)
	}
}
