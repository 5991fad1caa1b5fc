package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// droppedArg marks the process that root starts to become the account.
const droppedArg = "bench-as-account"

// stage is the directory with all that a measurement needs, readable by the
// account that measures. It travels to the dropped process as JSON.
type stage struct {
	Dir     string // 0755, removed by who made it
	State   string // runtime state of all subjects, on the runtime directory's file system
	User    string
	UID     int
	GID     int
	Home    string
	Rounds  int
	Warmup  int
	Image   string
	Debian  string // an OCI layout, "" without one
	Cases   []string
	Records bool // results go to descriptor 4 as well; 3 leads to root
}

func newStage(ctx context.Context, o options) (_ *stage, err error) {
	s := &stage{Rounds: o.rounds, Warmup: o.warmup, Image: o.image, Cases: o.cases, Records: o.jsonFile != ""}
	if err := s.lookup(o.account); err != nil {
		return nil, err
	}
	if len(o.cases) == 0 || slices.ContainsFunc(o.cases, isPull) {
		if s.Debian, err = debianLayout(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		}
	}
	if s.Dir, err = os.MkdirTemp("", "airplant-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.remove()
		}
	}()
	s.State = filepath.Join(s.Dir, "state")
	if own, ok := ownDir(fmt.Sprintf("/run/user/%d", s.UID), s.UID); ok {
		s.State = filepath.Join(own, filepath.Base(s.Dir))
	}
	if err := s.fill(ctx, o); err != nil {
		return nil, err
	}
	return s, s.giveAway()
}

// lookup finds out who will measure.
func (s *stage) lookup(account string) error {
	u, err := user.Current()
	if os.Geteuid() == 0 {
		if u, err = user.Lookup(account); err != nil {
			return fmt.Errorf("%w: root measures as an unprivileged account: useradd --create-home %s", err, account)
		}
	}
	if err != nil {
		return err
	}
	s.User, s.Home = u.Username, u.HomeDir
	if s.UID, err = strconv.Atoi(u.Uid); err != nil {
		return err
	}
	s.GID, err = strconv.Atoi(u.Gid)
	return err
}

func ownDir(dir string, uid int) (string, bool) {
	var st unix.Stat_t
	err := unix.Lstat(dir, &st)
	return dir, err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == uid
}

// fill puts the programs and the root file system in place.
func (s *stage) fill(ctx context.Context, o options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, dir := range []string{"bin", "rootfs/bin", "rootfs/proc", "rootfs/dev", "rootfs/sys", "data"} {
		if err := os.MkdirAll(filepath.Join(s.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.State, 0o700); err != nil {
		return err
	}
	if err := copyFile(s.path("bin/bench"), self); err != nil {
		return err
	}
	// Without airplant the peers can still be measured.
	if err := copyFile(s.path("bin/airplant"), o.airplant); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink("airplant", s.path("bin/airplant-oci")); err != nil {
		return err
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w: install the package busybox-static", err)
	}
	if err := copyFile(s.path("rootfs/bin/busybox"), busybox); err != nil {
		return err
	}
	if err := os.Symlink("busybox", s.path("rootfs/bin/true")); err != nil {
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w",
		"-o", s.path("bin/hello"), "airplant/internal/bench/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build hello: %w: %s", err, text)
	}
	return nil
}

func (s *stage) path(name string) string { return filepath.Join(s.Dir, name) }

// giveAway makes the account the owner, since runtimes write into bundles.
func (s *stage) giveAway() error {
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	for _, dir := range []string{s.Dir, s.State} {
		err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(name, s.UID, s.GID)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) remove() {
	for _, dir := range []string{s.State, s.Dir} {
		if dir == "" {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintf(os.Stderr, "bench: left behind: %v\n", err)
		}
	}
}

// handOver starts this program again, in a mount namespace of its own.
func (s *stage) handOver(ctx context.Context, records, out io.Writer) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, s.path("bin/bench"), droppedArg, string(text))
	cmd.Dir = s.Dir
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	root, account, err := memoryPair()
	if err != nil {
		return err
	}
	defer root.Close()
	cmd.ExtraFiles = []*os.File{account}
	if file, ok := records.(*os.File); ok {
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	err = cmd.Start()
	if err := errors.Join(err, account.Close()); err != nil {
		return err
	}
	go serveMemory(root) // ends with the other side
	return cmd.Wait()
}

// runDropped is the other side of handOver.
func runDropped(ctx context.Context, text string, out io.Writer) error {
	var s stage
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	if err := unifyCgroups(); err != nil {
		return err
	}
	if err := s.drop(); err != nil {
		return err
	}
	cases, err := choose(allCases(), s.Cases)
	if err != nil {
		return err
	}
	unix.CloseOnExec(3)
	to := outputs{text: out, root: os.NewFile(3, "root")}
	if s.Records {
		unix.CloseOnExec(4)
		to.records = os.NewFile(4, "records")
	}
	return measureAll(ctx, &s, cases, to)
}

// unifyCgroups covers a hybrid or old layout by a cgroup2 mount, in our own
// mount namespace: crun 1.8 refuses hybrid hosts with controllers in cgroup2.
func unifyCgroups() error {
	const dir = "/sys/fs/cgroup"
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type == unix.CGROUP2_SUPER_MAGIC {
		return nil // a host without cgroups measures without them
	}
	if err := unix.Mount("cgroup2", dir, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount cgroup2 on %s: %w", dir, err)
	}
	return nil
}

func (s *stage) drop() error {
	u, err := user.LookupId(strconv.Itoa(s.UID))
	if err != nil {
		return err
	}
	names, err := u.GroupIds()
	if err != nil {
		return err
	}
	groups := make([]int, len(names))
	for i, name := range names {
		if groups[i], err = strconv.Atoi(name); err != nil {
			return err
		}
	}
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setgid(s.GID); err != nil {
		return fmt.Errorf("setgid %d: %w", s.GID, err)
	}
	if err := syscall.Setuid(s.UID); err != nil {
		return fmt.Errorf("setuid %d: %w", s.UID, err)
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
