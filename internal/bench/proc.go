package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// bench runs programs as the measuring account, one at a time.
type bench struct {
	*stage
	env    []string
	null   *os.File
	root   io.ReadWriter // answers for root, or nil
	stderr *os.File      // append-only, emptied before each program
	peak   int64         // KiB of the largest process that exec has waited for
}

func newBench(s *stage) (*bench, error) {
	// Containers that outlive their creator come to us and are reaped here,
	// as conmon and containerd's shim do.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become a subreaper: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	stderr, err := os.OpenFile(s.path("stderr"), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errors.Join(err, null.Close())
	}
	return &bench{stage: s, null: null, stderr: stderr, env: []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + s.Home,
		"USER=" + s.User,
		"XDG_RUNTIME_DIR=" + s.State,
		"XDG_DATA_HOME=" + s.path("data"),
		"TMPDIR=" + os.TempDir(),
	}}, nil
}

func (b *bench) close() {
	b.reap()
	b.null.Close()
	b.stderr.Close()
}

// exec runs a program to its end. os.StartProcess shares our memory with the
// child until its execve, so the size of bench does not count.
func (b *bench) exec(argv ...string) error { return b.execTo(b.null, argv...) }

// shrink gives back what this process no longer needs and forgets its peak:
// the kernel counts the memory of who starts a program as the program's
// (fs/exec.c, exec_mmap). Some MiB remain as the least that can be measured.
func shrink() {
	debug.FreeOSMemory()
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) // the drop of root's id took that away
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
}

func (b *bench) execTo(stdout *os.File, argv ...string) error {
	if err := b.stderr.Truncate(0); err != nil {
		return err
	}
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Dir: b.Dir, Env: b.env, Files: []*os.File{b.null, stdout, b.stderr},
	})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err != nil {
		return err
	}
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		b.peak = max(b.peak, usage.Maxrss) // with the children that it waited for
	}
	if state.Success() {
		return nil
	}
	return fmt.Errorf("%s: %v: %s", strings.Join(shorten(argv), " "), state, b.lastWords())
}

// shorten leaves out directories, which are long and different every time.
func shorten(argv []string) []string {
	short := make([]string, len(argv))
	for i, arg := range argv {
		if short[i] = arg; filepath.IsAbs(arg) {
			short[i] = filepath.Base(arg)
		}
	}
	return short
}

func (b *bench) lastWords() string {
	text, err := os.ReadFile(b.stderr.Name())
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	if i := bytes.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	if len(text) == 0 {
		return "nothing on stderr"
	}
	return string(text)
}

// output returns the first line that a program prints.
func (b *bench) output(argv ...string) (string, error) {
	name := b.path("stdout")
	file, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if err := b.execTo(file, argv...); err != nil {
		return "", err
	}
	text, err := os.ReadFile(name)
	line, _, _ := strings.Cut(string(text), "\n")
	return line, err
}

// reap collects what orphans left. No process of ours runs meanwhile.
func (b *bench) reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if err != nil && !errors.Is(err, unix.EINTR) || pid == 0 {
			return
		}
	}
}

// await waits for an adopted process and wants it to exit with 0.
func await(pid int) error {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for container process %d: %w", pid, err)
		}
		break
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		return fmt.Errorf("container process: wait status %#x", uint32(status))
	}
	return nil
}

func readPID(file string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// find looks for a program where root has it too: an account's PATH often
// leaves out sbin, where Debian keeps runc.
func find(name string) (string, error) {
	for _, dir := range []string{"/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, errNotInstalled)
}
