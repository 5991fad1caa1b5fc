package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// Events is what has happened to a group since it was made.
type Events struct {
	// OOM is how often the limit of memory was met without a way out,
	// OOMKills how many processes that ended.
	OOM, OOMKills uint64
	// High and Max are how often memory.high and memory.max held it back.
	High, Max uint64
	// Populated: there are processes; Frozen: they are all frozen.
	Populated, Frozen bool
}

// Watch tells of changes in a group's Events.
type Watch struct {
	dir   dir
	group *Group // of version 1
	fd    int
	last  Events
	told  bool
}

// Watch begins to watch. The caller closes the watch.
func (g *Group) Watch() (*Watch, error) {
	if len(g.parts) > 0 {
		return g.watchV1()
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	// cgroups(7): the kernel reports changes of both files as IN_MODIFY.
	for _, file := range []string{"cgroup.events", "memory.events"} {
		name := fmt.Sprintf("/proc/self/fd/%d/%s", g.dir.fd(), file)
		_, err := unix.InotifyAddWatch(fd, name, unix.IN_MODIFY)
		if err != nil && (file == "cgroup.events" || !errors.Is(err, unix.ENOENT)) {
			return nil, errors.Join(fmt.Errorf("watch %s: %w", g.dir.name(file), err), unix.Close(fd))
		}
	}
	d, err := g.dir.sub("/")
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &Watch{dir: d, fd: fd}, nil
}

// Close ends the watch.
func (w *Watch) Close() error { return errors.Join(unix.Close(w.fd), w.dir.close()) }

// Next returns the present events at the first call, and then waits until
// they differ from those returned last. io.EOF says that the group is gone.
func (w *Watch) Next(ctx context.Context) (Events, error) {
	buf := make([]byte, 4096)
	for {
		e, err := w.read()
		if err != nil {
			return e, err
		}
		if !w.told || e != w.last {
			w.told, w.last = true, e
			return e, nil
		}
		// The removal of the group itself is not reported.
		step, cancel := context.WithTimeout(ctx, time.Second)
		err = pollUntil(step, w.fd, unix.POLLIN)
		cancel()
		if err != nil && (ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded)) {
			return e, err
		}
		_, err = retry(func() (int, error) { return unix.Read(w.fd, buf) })
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return e, err
		}
	}
}

func (w *Watch) read() (Events, error) {
	if w.group != nil {
		return w.eventsV1()
	}
	group, err := w.dir.flat("cgroup.events")
	if err != nil {
		if errors.Is(gone(err), ErrGone) {
			err = io.EOF
		}
		return Events{}, err
	}
	memory, err := w.dir.flat("memory.events")
	if err != nil && !errors.Is(gone(err), ErrGone) {
		return Events{}, err
	}
	return Events{
		OOM: memory["oom"], OOMKills: memory["oom_kill"], High: memory["high"], Max: memory["max"],
		Populated: group["populated"] == 1, Frozen: group["frozen"] == 1,
	}, nil
}
