package testenv

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
)

// leakGrace is how long goroutines may take to close what they hold after
// the last test has returned.
const leakGrace = 2 * time.Second

// state is what a test can leave behind in its own process.
type state struct {
	fds    map[int]string
	mounts map[int]string
	kids   map[int]process
}

// process is a line of ps.
type process struct {
	pid     int
	command string
}

func (p process) String() string { return fmt.Sprintf("%d: %s", p.pid, p.command) }

// look takes stock. The Go runtime opens its epoll and wakeup descriptors at
// the first use of a pipe or socket, so they are brought about first.
func look() (state, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return state{}, err
	}
	r.Close()
	w.Close()
	return current()
}

func current() (state, error) {
	s := state{fds: descriptors(), mounts: map[int]string{}, kids: map[int]process{}}
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return state{}, err
	}
	for _, m := range mounts {
		s.mounts[m.ID] = m.FSType + " on " + m.Mountpoint
	}
	for _, child := range children() {
		s.kids[child.pid] = child
	}
	return s, nil
}

// settle compares the present with s until nothing new is left or the grace
// time is over, and returns a line for each new thing.
func (s state) settle() ([]string, error) {
	deadline := time.Now().Add(leakGrace)
	for {
		now, err := current()
		if err != nil {
			return nil, err
		}
		left := s.diff(now)
		if len(left) == 0 || time.Now().After(deadline) {
			return left, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s state) diff(now state) []string {
	var left []string
	for fd, target := range now.fds {
		if s.fds[fd] != target {
			left = append(left, fmt.Sprintf("descriptor %d: %s", fd, target))
		}
	}
	for id, mount := range now.mounts {
		if _, ok := s.mounts[id]; !ok {
			left = append(left, "mount "+mount)
		}
	}
	for pid, child := range now.kids {
		if _, ok := s.kids[pid]; !ok {
			left = append(left, "process "+child.String())
		}
	}
	return left
}

// descriptors maps this process's open descriptors to what they refer to. The
// one that the directory is read with is closed by the time it is looked up.
func descriptors() map[int]string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	fds := make(map[int]string, len(entries))
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		fd, numErr := strconv.Atoi(e.Name())
		if err == nil && numErr == nil {
			fds[fd] = target
		}
	}
	return fds
}

// children lists the direct children of this process, zombies too: a child
// that nobody waits for is one.
func children() []process {
	// One file a thread; proc_pid_task_children needs CONFIG_PROC_CHILDREN,
	// which every distribution sets.
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return nil
	}
	var found []process
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				found = append(found, process{pid, commandOf(pid)})
			}
		}
	}
	return found
}

// commandOf is the command line of pid, or its name when it is a zombie.
func commandOf(pid int) string {
	dir := "/proc/" + strconv.Itoa(pid)
	if line, err := os.ReadFile(dir + "/cmdline"); err == nil && len(line) > 0 {
		return string(bytes.ReplaceAll(bytes.TrimRight(line, "\x00"), []byte{0}, []byte{' '}))
	}
	name, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return "gone"
	}
	return "[" + strings.TrimSpace(string(name)) + "]"
}
