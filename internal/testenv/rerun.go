package testenv

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Rerun runs the calling test again under the account and reports true when
// it has done so. It reports false when the test runs under the account
// already. A test that has to be the account as a whole begins with
//
//	if testenv.Subids(t).Rerun(t) {
//		return
//	}
//
// The rerun starts in a copy of the package's directory that holds only its
// testdata and that of the module's root, since the account may not be able
// to reach the sources.
func (u User) Rerun(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() == u.UID {
		return false
	}
	rerun(t, u, u.Command)
	return true
}

// RerunV2 is [User.Rerun] in a host that has cgroup version 2 alone, with a
// cgroup that is delegated to the account: see [User.V2Command].
func (u User) RerunV2(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() == u.UID {
		return false
	}
	rerun(t, u, u.V2Command)
	return true
}

// rerun runs the calling test by a command of the account.
func rerun(t *testing.T, u User, command func(t testing.TB, name string, args ...string) *exec.Cmd) {
	t.Helper()
	again, err := copySelf()
	if err != nil {
		t.Fatalf("copy the test binary: %v", err)
	}
	// The account has no build cache. An error is told by Binary, if the
	// rerun calls it.
	_, _ = program()

	cmd := command(t, again.binary, "-test.v", "-test.count=1", "-test.run="+onlyTest(t.Name()))
	cmd.Dir = again.dir
	out, err := cmd.CombinedOutput()
	t.Logf("as %s:\n%s", u.Name, bytes.TrimSpace(out))
	switch {
	case err != nil:
		t.Fatalf("as %s: %v", u.Name, err)
	case bytes.Contains(out, []byte("--- SKIP: "+t.Name()+" ")):
		t.SkipNow() // counted by the rerun
	case !bytes.Contains(out, []byte("--- PASS: "+t.Name()+" ")):
		t.Fatalf("as %s: %s was not run", u.Name, t.Name())
	}
}

// onlyTest is a -test.run pattern that matches the named test and no other.
func onlyTest(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// selfCopy is this test binary where the accounts can reach it.
type selfCopy struct{ binary, dir string }

var copySelf = sync.OnceValues(func() (selfCopy, error) {
	scratch, err := scratch()
	if err != nil {
		return selfCopy{}, err
	}
	exe, err := os.Executable()
	if err != nil {
		return selfCopy{}, err
	}
	again := selfCopy{binary: filepath.Join(scratch, filepath.Base(exe))}
	if err := copyProgram(exe, again.binary); err != nil {
		return selfCopy{}, err
	}
	again.dir, err = copyTestdata(filepath.Join(scratch, "src"))
	return again, err
})

// copyTestdata copies the testdata of this package and of the module's root
// to the same places below to, and returns the package's place.
func copyTestdata(to string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(root, here)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(to, rel)
	if err := os.MkdirAll(dir, 0o755); err != nil { // the accounts read it
		return "", err
	}
	for _, at := range []string{"", rel} {
		from := filepath.Join(root, at, "testdata")
		err := os.CopyFS(filepath.Join(to, at, "testdata"), os.DirFS(from))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return dir, nil
}

// moduleRoot is the directory with go.mod above the package under test.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}

// scratch is the directory that the keeper made for this run.
func scratch() (string, error) {
	dir := os.Getenv(envDir)
	if dir == "" {
		return "", errors.New("the package's TestMain has to call testenv.Main")
	}
	return dir, nil
}
