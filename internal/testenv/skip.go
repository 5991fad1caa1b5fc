package testenv

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Skip skips the test and counts it. With AIRPLANT_TEST_REQUIRE=all the test
// fails instead.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv(envRequire) == "all" {
		t.Fatalf("%s=all, but this test would be skipped: %s", envRequire, reason)
	}
	if err := countSkip(t.Name(), reason); err != nil {
		t.Fatalf("count a skip: %v", err)
	}
	t.Skip(reason)
}

// Need skips the test, naming what is missing, unless all the programs are
// installed. It looks in the directories for system programs too, which a
// normal user's PATH often lacks.
func Need(t testing.TB, tools ...string) {
	t.Helper()
	var missing []string
	for _, tool := range tools {
		if find(tool) == "" {
			missing = append(missing, tool)
		}
	}
	if len(missing) > 0 {
		Skip(t, "not installed: "+strings.Join(missing, ", "))
	}
}

// Root skips the test unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "needs root")
	}
}

// systemDirs are where administrators' programs live.
var systemDirs = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// find is exec.LookPath that knows systemDirs and says "" for not found.
func find(tool string) string {
	if path, err := exec.LookPath(tool); err == nil {
		return path
	}
	for _, dir := range systemDirs {
		if path, err := exec.LookPath(filepath.Join(dir, tool)); err == nil {
			return path
		}
	}
	return ""
}

// newLedger makes an empty file that every account may add lines to.
func newLedger(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Chmod(path, 0o666) // tests under several accounts write it
}

// countSkip adds a line to the ledger. A line is one write to a file opened
// for appending, so that processes do not overwrite each other.
func countSkip(test, reason string) error {
	path := os.Getenv(envSkips)
	if path == "" {
		return fmt.Errorf("%s is not set: does the package's TestMain call testenv.Main?", envSkips)
	}
	// No O_CREATE: in a sticky directory it would be refused for a file of
	// another account (fs.protected_regular, proc(5)).
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	reason = strings.Join(strings.Fields(reason), " ")
	_, err = fmt.Fprintf(f, "%s\t%s\t%s\n", testedPackage(), test, reason)
	return cmp.Or(err, f.Close())
}

// tellSkips prints how many tests of this package were skipped, and why.
func tellSkips(w io.Writer, ledger string) error {
	text, err := os.ReadFile(ledger)
	if err != nil {
		return err
	}
	total, reasons := 0, map[string]int{}
	for line := range strings.Lines(string(text)) {
		field := strings.SplitN(strings.TrimSpace(line), "\t", 3)
		if len(field) == 3 && field[0] == testedPackage() {
			total++
			reasons[field[2]]++
		}
	}
	if total == 0 {
		return nil
	}
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		list = append(list, fmt.Sprintf("%d %s", reasons[reason], reason))
	}
	_, err = fmt.Fprintf(w, "testenv: %s: %d skipped: %s\n", testedPackage(), total, strings.Join(list, "; "))
	return err
}
