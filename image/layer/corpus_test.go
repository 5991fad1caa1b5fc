package layer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"airplant/internal/testenv"
)

// TestCorpus unpacks every stack of testdata/layers as the worker does, looks
// at it through overlayfs, and checks that nothing outside has changed.
func TestCorpus(t *testing.T) {
	if rerunInWorker(t, testenv.Subids, "--map-auto") {
		return
	}
	for _, c := range corpus(t) {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			canary(t, dir)
			dirs, _, err := unpackAll(t, filepath.Join(dir, "a", "b", "layers"), c.layers, Options{})
			checkCanary(t, dir)
			if len(c.errs) > 0 {
				checkError(t, err, c.errs)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			compare(t, dump(t, mergeOverlay(t, dirs)), c.tree)
		})
	}
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	g, w := strings.Join(got, "\n"), strings.Join(want, "\n")
	if g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func checkError(t *testing.T, err error, want []string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrLimit) && !strings.Contains(err.Error(), "too many levels") &&
		!strings.Contains(err.Error(), "too long") {
		t.Errorf("error of no kind: %v", err)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
}

// canary puts files where an escaping layer would hit them.
func canary(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Join(dir, "a"), filepath.Join(dir, "a", "b")} {
		if err := os.MkdirAll(filepath.Join(d, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "etc", "passwd"), []byte("canary"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func checkCanary(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Join(dir, "a"), filepath.Join(dir, "a", "b")} {
		text, err := os.ReadFile(filepath.Join(d, "etc", "passwd"))
		info, serr := os.Stat(filepath.Join(d, "etc", "passwd"))
		if err != nil || serr != nil || string(text) != "canary" || info.Mode() != 0o600 {
			t.Errorf("%s was reached: %q %v", d, text, errors.Join(err, serr))
		}
		list, err := os.ReadDir(d)
		if err != nil || len(list) > 2 { // etc and the next directory
			t.Errorf("%s holds %v %v", d, list, err)
		}
	}
}
