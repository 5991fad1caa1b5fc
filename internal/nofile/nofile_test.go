// The test is outside the package: its imports would come before.
package nofile_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"airplant/internal/nofile"

	"golang.org/x/sys/unix"
)

func TestNumbers(t *testing.T) {
	if nofile.Number != unix.SYS_PRLIMIT64 || nofile.Resource != unix.RLIMIT_NOFILE {
		t.Errorf("prlimit64 is %d and RLIMIT_NOFILE %d", unix.SYS_PRLIMIT64, unix.RLIMIT_NOFILE)
	}
}

func TestAtStart(t *testing.T) {
	if os.Getenv("NOFILE_TEST") != "" {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
			t.Fatal(err)
		}
		if soft, hard := nofile.AtStart(); soft != 77 || hard != 99 || now.Cur == 77 {
			t.Errorf("limits %d and %d at the start, soft limit %d now", soft, hard, now.Cur)
		}
		return
	}
	cmd := exec.Command("sh", "-c", `ulimit -S -n 77 && ulimit -H -n 99 && exec "$0" -test.run TestAtStart`, os.Args[0])
	cmd.Env = append(os.Environ(), "NOFILE_TEST=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Fatalf("%v: %s", err, out)
	}
}
