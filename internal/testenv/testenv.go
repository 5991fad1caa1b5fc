// Package testenv is the ground that tests stand on: it says who runs them,
// which programs they may use, and whether they left anything behind.
//
// A package whose tests start processes, mount or skip gives its TestMain to
// [Main]. The tests then run in a child of the process that "go test" started:
//
//	go test ──> keeper (subreaper) ──fork, own mount namespace──> tests
//	              │                                                 │
//	              │ <── orphans, reaped as an init would ─────────  │
//	              └ living ones left at the end: killed, failure    └ new fds, mounts,
//	                                                                  children: failure
//
// The keeper is a subreaper (prctl(2), Linux 3.4) because a container that
// outlives its creator is nobody's child: only its adoptive parent can find
// it. The tests have a mount namespace of their own, when they run as root,
// because the mount table is shared and packages are tested at the same time:
// only in a private one is a new mount surely the package's own.
//
// Root's tests reach an unprivileged account in two ways: [User.Command]
// starts a program under it, [User.Rerun] runs the calling test again under
// it. The accounts come from testdata/setup.sh. A normal user's tests run as
// that user, and what the machine lacks is a skip that is counted and names
// what is missing; AIRPLANT_TEST_REQUIRE=all turns skips into failures.
//
// Not done here: no isolation of the network, of /proc or of the file system;
// no limit on what a test may do.
//
// Hazards: an orphan's parent is the keeper, not process 1. Rootless podman
// leaves a pause process on purpose, which counts as left behind: end such a
// test with "podman system migrate". A descriptor that nobody closed may be
// closed by the garbage collector before it is seen here.
package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
)

// Variables that the parts of a test run speak by. They are the environment
// and not package variables because keeper, tests and reruns are different
// processes.
const (
	// envDir is the scratch directory of one package's run; its presence
	// tells a test binary that it has a keeper.
	envDir = "AIRPLANT_TEST_DIR"
	// envSkips names the file that skips are counted in, a line each. The
	// Makefile sets it to add up several packages.
	envSkips = "AIRPLANT_SKIPS"
	// envRequire set to "all" makes a skip a failure.
	envRequire = "AIRPLANT_TEST_REQUIRE"
	// envBinary names a program that is already built.
	envBinary = "AIRPLANT_BIN"
)

// M is what [Main] needs of [testing.M]. testscript.Main takes the same.
type M interface{ Run() int }

// Main runs the tests of a package, checks what they left behind, tells what
// they skipped, and ends the process.
func Main(m M) {
	os.Exit(Checked(m).Run())
}

// Checked returns an M that does what [Main] does, but leaves it to the
// caller to end the process. It is what testscript.Main should be given.
func Checked(m M) M { return checked{m} }

type checked struct{ tests M }

// Run is the keeper on the first call, and the tests when the keeper calls.
func (c checked) Run() int {
	if os.Getenv(envDir) != "" {
		return runTests(c.tests)
	}
	code, err := keep()
	if err != nil {
		fmt.Fprintf(os.Stderr, "testenv: %v\n", err)
		return 1
	}
	return code
}

// keep makes the scratch directory, runs the test binary again below a
// keeper, and tells what was skipped.
func keep() (int, error) {
	dir, err := os.MkdirTemp("", "at-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	// The accounts must reach the binaries below it.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	env := append(os.Environ(), envDir+"="+dir)
	skips := os.Getenv(envSkips)
	if skips == "" {
		skips = filepath.Join(dir, "skips")
		if err := newLedger(skips); err != nil {
			return 0, err
		}
		env = append(env, envSkips+"="+skips)
	}
	code, err := superviseSelf(env)
	if err != nil {
		return 0, err
	}
	return code, tellSkips(os.Stderr, skips)
}

// runTests runs the tests in this process and compares what is open, mounted
// and running before and after.
func runTests(tests M) int {
	before, err := look()
	if err != nil {
		fmt.Fprintf(os.Stderr, "testenv: %v\n", err)
		return 1
	}
	code := tests.Run()
	left, err := before.settle()
	if err != nil {
		left = append(left, err.Error())
	}
	for _, what := range left {
		fmt.Fprintf(os.Stderr, "testenv: left behind: %s\n", what)
	}
	if len(left) > 0 && code == 0 {
		code = 1
	}
	return code
}

// testedPackage is the import path of the package whose tests these are.
func testedPackage() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Path != "" {
		return info.Path
	}
	return filepath.Base(os.Args[0])
}
