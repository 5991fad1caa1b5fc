package birth

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"airplant/internal/testenv"
)

// TestOtherMachine runs this package's tests for arm64 under an emulator. It
// emulates one program and not what that executes, so forks are left out.
func TestOtherMachine(t *testing.T) {
	const emulator = "qemu-aarch64-static"
	testenv.Need(t, emulator)
	path, err := exec.LookPath(emulator)
	if err != nil {
		t.Fatal(err)
	}
	test := filepath.Join(t.TempDir(), "birth.test")
	build := exec.Command("go", "test", "-c", "-o", test, ".")
	build.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(path, test, "-test.v", "-test.skip=TestFork")
	cmd.Env = append(os.Environ(), qemu+"="+path)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestEveryKindOfInstruction") {
		t.Fatalf("%v: %s", err, out)
	}
}
