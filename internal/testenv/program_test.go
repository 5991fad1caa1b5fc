package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

func TestBusyboxRuns(t *testing.T) {
	u := Plain(t)
	if got := runs(t, u.Command(t, Busybox(t), "echo", "hi")); got != "hi" {
		t.Errorf("got %q", got)
	}
}

func TestIsStatic(t *testing.T) {
	if static, err := isStatic("/bin/sh"); err != nil || static {
		t.Errorf("/bin/sh: %v, %v", static, err)
	}
	if static, err := isStatic(Binary(t)); err != nil || !static {
		t.Errorf("airplant: %v, %v", static, err)
	}
	if _, err := isStatic("testdata/rerun"); err == nil {
		t.Error("a text is an executable")
	}
}

func TestBinaryIsReachable(t *testing.T) {
	path := Binary(t)
	u := Plain(t)
	runs(t, u.Command(t, "test", "-x", path))
	if link, err := os.Readlink(filepath.Join(filepath.Dir(path), "airplant-oci")); err != nil || link != "airplant" {
		t.Errorf("airplant-oci: %q, %v", link, err)
	}
}
