package cgroup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// flat reads a file of lines "key number".
func (d dir) flat(file string) (map[string]uint64, error) {
	text, err := d.read(file)
	if err != nil {
		return nil, err
	}
	return flatKeyed(text), nil
}

// flatKeyed parses lines "key number", and "max" as the greatest number.
// Other lines are left out.
func flatKeyed(text string) map[string]uint64 {
	values := map[string]uint64{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := parseMax(value); ok && err == nil {
			values[key] = n
		}
	}
	return values
}

// Freeze stops all processes of the group where they are and returns when
// they all have stopped, which one that sleeps in the kernel delays. When ctx
// ends first the group is thawed again.
func (g *Group) Freeze(ctx context.Context) error {
	if err := g.setFrozen(true); err != nil {
		return err
	}
	if err := g.await(ctx, "frozen", 1); err != nil {
		return errors.Join(fmt.Errorf("freeze %s: %w", g.place.Dir(), err), g.setFrozen(false))
	}
	return nil
}

// setFrozen begins to freeze or to thaw.
func (g *Group) setFrozen(frozen bool) error {
	file, value := "cgroup.freeze", "0"
	if frozen {
		value = "1"
	}
	d := g.dir
	if len(g.parts) > 0 {
		var ok bool
		if d, ok = g.controller("freezer"); !ok {
			return fmt.Errorf("%s: %w: freezer", g.place.Dir(), ErrController)
		}
		file, value = "freezer.state", "THAWED"
		if frozen {
			value = "FROZEN"
		}
	}
	return d.write(file, value)
}

// Thaw lets a frozen group go on.
func (g *Group) Thaw(ctx context.Context) error {
	if err := g.setFrozen(false); err != nil {
		return err
	}
	return g.await(ctx, "frozen", 0)
}

// Frozen tells whether all processes of the group are frozen.
func (g *Group) Frozen() (bool, error) {
	events, err := g.events()
	return events["frozen"] == 1, err
}

// Populated tells whether the group or one below it has processes.
func (g *Group) Populated() (bool, error) {
	events, err := g.events()
	return events["populated"] == 1, err
}

func (g *Group) events() (map[string]uint64, error) {
	if len(g.parts) > 0 {
		return g.eventsV1()
	}
	return g.dir.flat("cgroup.events")
}

// await waits for a value in cgroup.events. The kernel wakes pollers of the
// file at each change; what was read is older than the poll, so that no
// change is missed.
func (g *Group) await(ctx context.Context, key string, value uint64) error {
	if len(g.parts) > 0 {
		return g.awaitV1(ctx, key, value)
	}
	fd, err := g.dir.openat("cgroup.events", unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for {
		buf := make([]byte, 256)
		n, err := retry(func() (int, error) { return unix.Pread(fd, buf, 0) })
		if err != nil {
			return gone(err)
		}
		if flatKeyed(string(buf[:n]))[key] == value {
			return nil
		}
		if err := pollUntil(ctx, fd, unix.POLLPRI); err != nil {
			return err
		}
	}
}

// pollUntil waits for events on a descriptor, or for ctx to end.
func pollUntil(ctx context.Context, fd int, events int16) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	defer unix.Close(wake)
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_, _ = unix.Write(wake, []byte{7: 1}) // not zero in either byte order
	})
	p := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(wake), Events: unix.POLLIN}}
	_, err = retry(func() (int, error) { return unix.Poll(p, -1) })
	if !stop() {
		<-done
	}
	if err == nil && p[0].Revents == 0 {
		err = ctx.Err()
	}
	return err
}

// gone makes ErrGone of what the kernel says of files of removed groups.
func gone(err error) error {
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) {
		return ErrGone
	}
	return err
}

// Pids lists the processes of the group and of all below it, as our pid
// namespace numbers them. It is out of date when it returns: to reach all of
// them, freeze first, or Kill.
func (g *Group) Pids() ([]int, error) {
	var pids []int
	err := g.dir.walk(maxDepth, func(d dir) error {
		words, err := d.words("cgroup.procs")
		if errors.Is(err, unix.EOPNOTSUPP) { // threads, whose processes are listed above
			return nil
		}
		for _, word := range words {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return err
			}
			pids = append(pids, pid)
		}
		return gone(err)
	})
	slices.Sort(pids)
	return slices.Compact(pids), err
}

// maxDepth bounds the descriptors that a walk holds: a container that owns
// its group can nest without end.
const maxDepth = 200

// walk calls a function for a group and all below it. Those that are removed
// meanwhile are passed over.
func (d dir) walk(depth int, visit func(dir) error) error {
	if err := visit(d); err != nil && !errors.Is(err, ErrGone) {
		return err
	}
	if depth == 0 {
		return fmt.Errorf("%s: groups are nested more than %d deep", d.file.Name(), maxDepth)
	}
	names, err := d.children()
	if err != nil && !errors.Is(gone(err), ErrGone) {
		return err
	}
	for _, name := range names {
		sub, err := d.sub(name)
		if errors.Is(gone(err), ErrGone) {
			continue
		}
		if err != nil {
			return err
		}
		err = errors.Join(sub.walk(depth-1, visit), sub.close())
		if err != nil {
			return err
		}
	}
	return nil
}

// Signal sends a signal to every process of the group. The group is frozen
// meanwhile, so that none escapes by forking.
func (g *Group) Signal(ctx context.Context, signal unix.Signal) error {
	was, err := g.Frozen()
	if err != nil {
		return err
	}
	if !was {
		if err := g.Freeze(ctx); err != nil {
			return err
		}
	}
	pids, err := g.Pids()
	for _, pid := range pids {
		if pid == 0 { // of another pid namespace; to us it would mean ourselves
			continue
		}
		// A frozen process does not end, and its pid stays its own.
		if killErr := unix.Kill(pid, signal); killErr != nil && !errors.Is(killErr, unix.ESRCH) {
			err = errors.Join(err, fmt.Errorf("signal process %d: %w", pid, killErr))
		}
	}
	if !was {
		err = errors.Join(err, g.setFrozen(false))
	}
	return err
}

// Kill ends every process of the group by SIGKILL, frozen or not. It does not
// wait for their end, Remove does. Processes that are forked into the group
// meanwhile from outside may survive.
func (g *Group) Kill() error {
	if len(g.parts) > 0 {
		return g.killV1()
	}
	err := g.dir.write("cgroup.kill", "1") // Linux 5.14
	switch {
	case errors.Is(gone(errors.Unwrap(err)), ErrGone) && g.removed():
		return nil
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP):
		return g.killEach()
	}
	return err
}

// removed tells whether somebody has removed the group.
func (g *Group) removed() bool { return !g.dir.has("cgroup.procs") }

// killEach is Kill for older kernels.
func (g *Group) killEach() error {
	for range 100 {
		pids, err := g.Pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err = g.Signal(ctx, unix.SIGKILL)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%s: processes survive: %w", g.place.Dir(), ErrBusy)
}

// Remove removes the group and all below it, once its processes are gone,
// which it waits for up to a time. A group that is gone is no error. It kills
// nothing.
func (g *Group) Remove(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := g.await(ctx, "populated", 0); err != nil && !errors.Is(gone(err), ErrGone) {
		if errors.Is(err, context.DeadlineExceeded) {
			err = ErrBusy
		}
		return fmt.Errorf("remove %s: %w", g.place.Dir(), err)
	}
	if g.place.Unit != "" {
		if err := stopUnit(ctx, g.place); err != nil {
			return err
		}
	}
	for wait := time.Millisecond; ; wait *= 2 {
		err := g.rmdir()
		if err == nil || errors.Is(gone(err), ErrGone) {
			return nil
		}
		// The last process's end is counted a little before it is complete.
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(min(wait, 50*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// rmdir removes what is below the group, and the group. One pass takes away
// leaves alone and holds two descriptors, however deep it goes.
func (g *Group) rmdir() error {
	if len(g.parts) > 0 {
		return g.rmdirV1()
	}
	for {
		more, err := g.dir.rmLeaf()
		if err != nil && !errors.Is(gone(err), ErrGone) {
			return err
		}
		if !more {
			break
		}
	}
	root, err := openMount(g.place.Mount)
	if err != nil {
		return err
	}
	defer root.close()
	at := g.place.Path
	err = root.rmdir(strings.TrimPrefix(at, "/"))
	for range g.place.Made - 1 {
		if err != nil {
			break
		}
		at = path.Dir(at)
		_ = root.rmdir(strings.TrimPrefix(at, "/")) // what others use stays
	}
	return err
}

// rmLeaf goes down to a group without children and removes it. It reports
// whether there was one.
func (d dir) rmLeaf() (bool, error) {
	parent, name := dir{}, ""
	at, err := d.sub("/")
	if err != nil {
		return false, err
	}
	defer func() { at.close(); parent.close() }()
	for {
		names, err := at.children()
		if err != nil {
			return false, err
		}
		if len(names) == 0 {
			break
		}
		next, err := at.sub(names[0])
		if err != nil {
			return true, err
		}
		parent.close()
		parent, at, name = at, next, names[0]
	}
	if name == "" {
		return false, nil
	}
	return true, parent.rmdir(name)
}
