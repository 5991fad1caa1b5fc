package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// envLeak makes the test binary run one of the leaks below in place of the
// tests, under a keeper of its own.
const envLeak = "TESTENV_LEAK"

func TestMain(m *testing.M) {
	if kind, ok := os.LookupEnv(envLeak); ok {
		Main(leak(kind))
	}
	Main(m)
}

// leak is a test run that leaves something behind.
type leak string

func (kind leak) Run() int {
	if err := leaks[kind](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	return 0
}

var leaks = map[leak]func() error{
	"nothing": func() error { return nil },
	"failure": func() error { return fmt.Errorf("a test failed") },
	"descriptor": func() error {
		_, err := unix.Open("/proc/self/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	},
	"child": func() error { return exec.Command("sleep", "60").Start() },
	"orphan": func() error {
		return exec.Command("sh", "-c", "sleep 61 >/dev/null 2>&1 &").Run()
	},
	"brief orphan": func() error {
		return exec.Command("sh", "-c", "sleep 0.2 >/dev/null 2>&1 &").Run()
	},
	"mount": func() error {
		dir, err := os.MkdirTemp(os.Getenv(envDir), "m")
		if err != nil {
			return err
		}
		return unix.Mount("leak", dir, "tmpfs", 0, "")
	},
	"signal": func() error { return unix.Kill(os.Getpid(), unix.SIGKILL) },
}

// runLeak runs this binary as a test run of its own.
func runLeak(t *testing.T, kind leak) (code int, stderr string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, envDir+"=") && !strings.HasPrefix(v, envSkips+"=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, envLeak+"="+string(kind))
	var out strings.Builder
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func TestMainFindsWhatIsLeftBehind(t *testing.T) {
	t.Parallel()
	for kind, want := range map[leak]struct {
		code   int
		stderr string
	}{
		"nothing":      {0, ""},
		"failure":      {3, "a test failed\n"},
		"descriptor":   {1, "left behind: descriptor"},
		"child":        {1, "sleep 60"},
		"orphan":       {1, "sleep 61"},
		"brief orphan": {0, ""},
		"mount":        {1, "left behind: mount tmpfs on "},
		"signal":       {137, "the tests were ended by killed"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			if kind == "mount" {
				canBePrivate(t)
			}
			code, stderr := runLeak(t, kind)
			if code != want.code || !strings.Contains(stderr, want.stderr) || want.stderr == "" && stderr != "" {
				t.Errorf("code %d, stderr %q, want %d, %q", code, stderr, want.code, want.stderr)
			}
		})
	}
}

// canBePrivate skips the test where no private mount namespace can be had.
func canBePrivate(t *testing.T) {
	t.Helper()
	Root(t)
	at, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter("/"))
	if err != nil {
		t.Fatal(err)
	}
	if len(at) == 0 {
		Skip(t, "chroot whose root is no mount point")
	}
}

func TestMountsOfTestsAreTheirOwn(t *testing.T) {
	canBePrivate(t)
	ours, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	keepers, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err != nil {
		t.Fatal(err)
	}
	if ours == keepers {
		t.Error("the tests share the keeper's mount namespace")
	}
}

func TestScratchIsReachable(t *testing.T) {
	dir, err := scratch()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o755 {
		t.Errorf("mode of %s is %v", filepath.Base(dir), info.Mode())
	}
}
