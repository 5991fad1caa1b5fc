package doctor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"airplant/userns"
	"golang.org/x/sys/unix"
)

// Gather tries what this host allows. It returns when everything is known or
// ctx is done; what was not tried by then is missing from Tries. The probes
// run at once and take some 20 ms. getenv is os.Getenv or a stand-in.
func Gather(ctx context.Context, getenv func(string) string) Facts {
	f := Facts{Caller: caller(getenv), Tries: localTries()}
	f.Host = host()
	var probes, helpers map[string]Try
	var group sync.WaitGroup
	group.Go(func() {
		dir, remove := scratch(&f.Store, storeDir(getenv))
		defer remove()
		probes, f.Host.Refused = inNamespaces(ctx, f.Caller, dir)
	})
	group.Go(func() {
		f.Maps = maps(f.Caller)
		helpers = map[string]Try{TryHelpers: tryHelpers(ctx, f.Caller, &f.Maps)}
	})
	group.Go(func() { f.Cgroup = cgroup(f.Caller, getenv) })
	group.Wait()
	for _, tries := range []map[string]Try{probes, helpers} {
		for name, try := range tries {
			f.Tries[name] = try
		}
	}
	if f.Store.Err != "" {
		delete(f.Tries, TryOverlay) // it was tried elsewhere
	}
	return f
}

// storeDir is the directory of the store, which may not exist yet.
func storeDir(getenv func(string) string) string {
	data := getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		home := getenv("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		data = filepath.Join(home, ".local", "share")
	}
	return filepath.Join(data, "airplant")
}

// scratch makes the directory that the probe works in: on the store's file
// system, or else in the directory for temporary files.
func scratch(s *Store, store string) (dir string, remove func()) {
	remove = func() {}
	var err error
	if store == "" {
		s.Err = "neither $XDG_DATA_HOME nor $HOME is an absolute path"
	} else {
		s.Dir = nearest(store)
		s.FS = fileSystem(s.Dir)
		if dir, err = os.MkdirTemp(s.Dir, ".airplant-doctor-"); err != nil {
			s.Err = reason(err)
		}
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "airplant-doctor-"); err != nil {
			return "", remove
		}
	}
	remove = func() {
		// overlayfs makes work/work with mode 000 and keeps a whiteout in it,
		// to link from. Best effort: all in it is ours.
		_ = os.Chmod(filepath.Join(dir, "work/work"), 0o700)
		_ = os.RemoveAll(dir)
	}
	for _, name := range []string{"lower/dir", "upper", "work", "merged", "mnt", "fuse"} {
		if os.MkdirAll(filepath.Join(dir, name), 0o755) != nil {
			return "", remove
		}
	}
	if os.WriteFile(filepath.Join(dir, "lower/file"), nil, 0o600) != nil {
		return "", remove
	}
	return dir, remove
}

func nearest(dir string) string {
	for {
		info, err := os.Stat(dir)
		if err == nil && info.IsDir() || dir == "/" {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// inNamespaces runs the probe in all namespaces at once, or finds out which of
// them is refused.
func inNamespaces(ctx context.Context, c Caller, dir string) (tries map[string]Try, refused map[string]syscall.Errno) {
	all := uintptr(unix.CLONE_NEWUSER)
	for _, kind := range namespaceKinds() {
		all |= kind.flag
	}
	if dir == "" {
		return nil, nil
	}
	tries, err := answers(probeCommand(ctx, c, all, true, probeAll, dir))
	if err == nil {
		tries[TryAllNS], tries[TryUserNS] = Try{Done: true}, Try{Done: true}
		return tries, nil
	}
	if ctx.Err() != nil {
		return nil, nil
	}
	allNS := Try{Done: true, Step: "clone", Errno: errnoOf(err)}
	separate, err := answers(probeCommand(ctx, c, unix.CLONE_NEWUSER, true, probeSeparate))
	tries = map[string]Try{TryAllNS: allNS, TryUserNS: {Done: true, Step: "clone", Errno: errnoOf(err)}}
	refused = map[string]syscall.Errno{}
	for name, try := range separate {
		if try.Errno != 0 {
			refused[name] = try.Errno
		}
	}
	return tries, refused
}

func probeCommand(ctx context.Context, c Caller, flags uintptr, mapped bool, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = append([]string{ProbeName}, args...)
	cmd.Env = []string{} // what is tried depends on none of it
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: 0}
	if mapped {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: c.UID, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: c.GID, Size: 1}}
	}
	return cmd
}

// answers starts a probe and reads what it reports.
func answers(cmd *exec.Cmd) (map[string]Try, error) {
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	tries := map[string]Try{}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var name, step string
		var errno int
		if _, err := fmt.Sscanf(lines.Text(), "%s %d %s", &name, &errno, &step); err != nil {
			return nil, fmt.Errorf("probe answered %q: %w", lines.Text(), err)
		}
		tries[name] = Try{Done: true, Step: step, Errno: syscall.Errno(errno)}
	}
	return tries, nil
}

// maps looks for subordinate ids and for the programs that map them.
func maps(c Caller) (m Maps) {
	uids, gids, err := userns.Own(c.Login, c.UID)
	if err != nil {
		m.Err = err.Error()
	}
	for _, r := range uids {
		m.SubUIDs += uint64(r.Count)
	}
	for _, r := range gids {
		m.SubGIDs += uint64(r.Count)
	}
	m.Free = firstFree("/etc/subuid", "/etc/subgid")
	m.NewUIDMap, m.NewGIDMap = helper(&m, "newuidmap"), helper(&m, "newgidmap")
	return m
}

// firstFree is the first id above all ranges in the files, and above those
// that useradd(8) gives to users on most hosts.
func firstFree(files ...string) uint64 {
	free := uint64(524288)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			field := strings.Split(strings.TrimSpace(lines.Text()), ":")
			if len(field) != 3 {
				continue
			}
			first, err1 := strconv.ParseUint(field[1], 10, 32)
			count, err2 := strconv.ParseUint(field[2], 10, 32)
			if err1 == nil && err2 == nil {
				free = max(free, first+count)
			}
		}
		f.Close()
	}
	return free
}

func helper(m *Maps, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/bin/" + name); err != nil {
			return ""
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	size, err := unix.Getxattr(path, "security.capability", nil)
	if info.Mode()&os.ModeSetuid == 0 && (err != nil || size == 0) {
		m.Unprivileged = append(m.Unprivileged, path)
	}
	return path
}

// tryHelpers lets the helpers write our ranges for a process that waits in a
// user namespace: setuid has no effect on a nosuid mount, under no_new_privs
// and in many outer containers, which their mode does not show.
func tryHelpers(ctx context.Context, c Caller, m *Maps) Try {
	if m.SubUIDs == 0 || m.SubGIDs == 0 || m.NewUIDMap == "" || m.NewGIDMap == "" {
		return Try{}
	}
	uids, gids, err := userns.Own(c.Login, c.UID)
	if err != nil {
		return Try{}
	}
	helpers, err := userns.FindHelpers()
	if err != nil {
		return Try{}
	}
	cmd := probeCommand(ctx, c, unix.CLONE_NEWUSER, false, probeWait)
	in, err := cmd.StdinPipe()
	if err != nil {
		return Try{}
	}
	if err := cmd.Start(); err != nil {
		return Try{Done: true, Step: "clone", Errno: errnoOf(errors.Join(err, in.Close()))}
	}
	err = helpers.Write(cmd.Process.Pid, userns.Ranges(c.UID, c.GID, uids, gids))
	if err != nil {
		m.Said = firstLine(err.Error())
	}
	// Its exit status says nothing: it only waited.
	_ = errors.Join(in.Close(), cmd.Wait())
	if m.Said != "" {
		return Try{Done: true, Step: "write", Errno: syscall.EPERM}
	}
	return Try{Done: true}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// reason is the errno of an error on a path that the line names already.
func reason(err error) string {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// readFirst is the first line of a small file, or "".
func readFirst(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return ""
	}
	return firstLine(string(text))
}
