package main_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"airplant/internal/testenv"
)

// TestDebian runs programs of a real distribution, whose image is made once on
// a machine.
func TestDebian(t *testing.T) {
	debian(t)
	tell(t, "debian.txtar")
}

// debian is an image of Debian: that of root's tests, or the user's own.
func debian(t testing.TB) string {
	t.Helper()
	const shared = "/var/cache/airplant-test/debian"
	at := shared
	if _, err := os.Stat(filepath.Join(shared, "index.json")); err != nil && os.Geteuid() != 0 {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		at = filepath.Join(dir, "airplant-test", "debian")
	}
	cmd := exec.CommandContext(t.Context(), "../../testdata/debian-image.sh", at)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 77:
		testenv.Skip(t, "no image of Debian: "+string(out))
	case err != nil:
		t.Fatalf("make an image of Debian: %v: %s", err, out)
	}
	return at
}
