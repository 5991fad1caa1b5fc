package layer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzUnpack looks for layers that leave their root. It needs no privilege:
// owners are ignored. The second layer is unpacked over the first.
func FuzzUnpack(f *testing.F) {
	for _, c := range corpus(f) {
		two := append(append([][]byte{}, c.layers...), nil)
		f.Add(two[0], two[1])
	}
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		dir, err := os.MkdirTemp("", "fuzz-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		canary(t, dir)
		_, _, err = unpackAll(t, filepath.Join(dir, "a", "b", "layers"), [][]byte{lower, upper}, Options{IgnoreOwner: true})
		checkCanary(t, dir)
		if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EBADF) {
			t.Errorf("resolution went astray: %v", err)
		}
	})
}

// FuzzXattr checks that overlayfs attributes never pass as they are.
func FuzzXattr(f *testing.F) {
	f.Add("user.overlay.opaque")
	f.Add("trusted.overlay.opaque")
	f.Fuzz(func(t *testing.T, name string) {
		got := storedXattr(name)
		if bytes.HasPrefix([]byte(got), []byte("user.overlay.")) && !bytes.HasPrefix([]byte(got), []byte("user.overlay.overlay.")) {
			t.Errorf("%q is stored as %q", name, got)
		}
	})
}
