package layer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"airplant/internal/testenv"
)

// TestUmociAgrees checks the expectations of the corpus themselves: umoci
// must unpack the marked cases to the same trees.
func TestUmociAgrees(t *testing.T) {
	testenv.Root(t) // umoci chowns
	testenv.Need(t, "umoci")
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	umoci(t, "init", "--layout", layout)
	n := 0
	for i, c := range corpus(t) {
		if !c.umoci {
			continue
		}
		n++
		t.Run(c.name, func(t *testing.T) {
			image := layout + ":case" + strconv.Itoa(i)
			umoci(t, "new", "--image", image)
			for j, raw := range c.layers {
				file := filepath.Join(dir, strconv.Itoa(j)+".tar")
				if err := os.WriteFile(file, raw, 0o600); err != nil {
					t.Fatal(err)
				}
				umoci(t, "raw", "add-layer", "--image", image, file)
			}
			bundle := filepath.Join(dir, "bundle"+strconv.Itoa(i))
			umoci(t, "unpack", "--image", image, bundle)
			compare(t, dump(t, filepath.Join(bundle, "rootfs")), c.tree)
		})
	}
	if n < 60 {
		t.Errorf("only %d cases are marked", n)
	}
}

func umoci(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "umoci", args...).CombinedOutput(); err != nil {
		t.Fatalf("umoci %v: %v: %s", args, err, out)
	}
}
