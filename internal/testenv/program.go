package testenv

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Binary is the path of the airplant program under test, which the accounts
// can reach; airplant-oci lies beside it. It is AIRPLANT_BIN, or is built from
// the sources once.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatalf("build airplant: %v", err)
	}
	return path
}

var program = sync.OnceValues(func() (string, error) {
	dir, err := scratch()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bin", "airplant")
	if _, err := os.Stat(path); err == nil {
		return path, nil // made before this rerun
	}
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil { // the accounts read it
		return "", err
	}
	if built := os.Getenv(envBinary); built != "" {
		err = copyProgram(built, path)
	} else {
		err = buildProgram(path)
	}
	if err != nil {
		return "", err
	}
	return path, os.Symlink("airplant", path+"-oci")
})

// buildProgram compiles the command as the Makefile does.
func buildProgram(to string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", to, "./cmd/airplant")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return os.Chmod(to, 0o755) // whatever the umask
}

// copyProgram copies an executable, which everybody may then run.
func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return cmp.Or(err, out.Chmod(0o755), out.Close())
}

// Busybox is the path of a statically linked busybox, which is all that a
// test's root file system needs.
func Busybox(t testing.TB) string {
	t.Helper()
	Need(t, "busybox")
	path := find("busybox")
	static, err := isStatic(path)
	if err != nil {
		t.Fatal(err)
	}
	if !static {
		Skip(t, path+" is not statically linked: install busybox-static")
	}
	return path
}

// isStatic tells whether an executable asks for no dynamic linker.
func isStatic(path string) (bool, error) {
	f, err := elf.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return false, nil
		}
	}
	if len(f.Progs) == 0 {
		return false, errors.New(path + ": no program headers")
	}
	return true, nil
}
