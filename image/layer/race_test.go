package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"airplant/internal/testenv"

	"golang.org/x/sys/unix"
)

// TestSwappedDirectories unpacks while somebody keeps exchanging a directory
// of the layer with a link that leads out (CVE-2025-47290): errors are fine,
// files outside are not.
func TestSwappedDirectories(t *testing.T) {
	if rerunInWorker(t, testenv.Subids, "--map-auto") {
		return
	}
	base := t.TempDir()
	canary(t, base)
	diff := filepath.Join(base, "a", "b", "diff")
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for i := range 200 { // names change directory, so that each is looked up
		for _, name := range []string{fmt.Sprintf("d/e/f%d", i), fmt.Sprintf("x/f%d", i), "d/e/passwd"} {
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o777}); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		link := filepath.Join(base, "a", "b", "link")
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Symlink(base, link)
			_ = unix.Renameat2(unix.AT_FDCWD, link, unix.AT_FDCWD, filepath.Join(diff, "d"), unix.RENAME_EXCHANGE)
			_ = os.Remove(link)
		}
	})
	failed := 0
	for range 50 {
		if err := os.MkdirAll(filepath.Join(base, "e"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(diff, 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := os.Open(diff)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Unpack(t.Context(), root, bytes.NewReader(raw.Bytes()), Options{})
		if err == nil {
			_, err = p.Finish(nil)
		}
		if err != nil {
			failed++
		}
		root.Close()
		if list, err := os.ReadDir(filepath.Join(base, "e")); err != nil || len(list) > 0 {
			t.Fatalf("files outside: %v, %v", list, err)
		}
		for tries := 0; os.RemoveAll(diff) != nil && tries < 100; tries++ { // the other one renames
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d of 50 failed", failed)
	if failed == 0 {
		t.Error("nothing was ever swapped")
	}
}
