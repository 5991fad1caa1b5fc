package cgroup

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"time"

	"airplant/internal/sys"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	managerName   = "org.freedesktop.systemd1"
	managerPath   = "/org/freedesktop/systemd1"
	managerFace   = "org.freedesktop.systemd1.Manager"
	errUnitExists = "org.freedesktop.systemd1.UnitExists"
	errNoUnit     = "org.freedesktop.systemd1.NoSuchUnit"
)

// manager is a connection to systemd.
type manager struct{ *conn }

func dialManager(ctx context.Context, bus Bus) (*manager, error) {
	c, err := dial(ctx, bus)
	if err != nil {
		return nil, deadline(err)
	}
	return &manager{c}, nil
}

func (m *manager) do(ctx context.Context, member, signature string, fill func(*encoder)) (*message, error) {
	e := &encoder{}
	fill(e)
	return m.call(ctx, managerName, managerPath, managerFace, member, signature, e.buf)
}

// job calls a method that returns a job, and waits until the job is done. The
// signal is asked for first: the job may end before its answer is read.
func (m *manager) job(ctx context.Context, member, signature string, fill func(*encoder)) error {
	if !m.direct {
		e := &encoder{}
		e.string("type='signal',sender='" + managerName + "',interface='" + managerFace +
			"',member='JobRemoved',path='" + managerPath + "'")
		if _, err := m.call(ctx, dbusName, "/org/freedesktop/DBus", dbusName, "AddMatch", "s", e.buf); err != nil {
			return err
		}
	}
	reply, err := m.do(ctx, member, signature, fill)
	if err != nil {
		return err
	}
	job := reply.decoder().string()
	for {
		s, err := m.signal(ctx)
		if err != nil {
			return err
		}
		if s.fields[fieldMember] != "JobRemoved" || s.fields[fieldSignature] != "uoss" {
			continue
		}
		d := s.decoder()
		d.uint32()
		if d.string() != job {
			continue
		}
		d.string() // the unit
		if result := d.string(); result != "done" {
			return fmt.Errorf("the job ended with %q", result)
		}
		return nil
	}
}

// startScope makes a scope around a process.
func startScope(p Plan, o Options) (*Group, error) {
	list, err := scopeProperties(p, o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := dialManager(ctx, p.Bus)
	if err != nil {
		return nil, err
	}
	defer m.close()
	start := func() error {
		return m.job(ctx, "StartTransientUnit", "ssa(sv)a(sa(sv))", func(e *encoder) {
			e.string(p.Unit)
			e.string("replace") // of jobs; a unit of that name is an error
			e.properties(list)
			e.array(8, func() {})
		})
	}
	// A scope whose last process has just ended is collected a little later.
	err = start()
	for wait := 10 * time.Millisecond; isReply(err, errUnitExists) && wait < time.Second; wait *= 2 {
		_, _ = m.do(ctx, "ResetFailedUnit", "s", func(e *encoder) { e.string(p.Unit) })
		time.Sleep(wait)
		err = start()
	}
	if isReply(err, errUnitExists) {
		return nil, fmt.Errorf("start %s: %w", p.Unit, ErrBusy)
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Unit, deadline(err))
	}
	return openScope(ctx, m, p, o.PID)
}

// openScope opens the group that a scope has got: that of its process, since
// where slices are depends on the manager.
func openScope(ctx context.Context, m *manager, p Plan, pid int) (*Group, error) {
	g, err := func() (*Group, error) {
		text, err := sys.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			return nil, err
		}
		table, err := sys.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return nil, err
		}
		group := within(unifiedPath(string(text)), mountRoot(string(table), p.Mount))
		if path.Base(group) != p.Unit {
			return nil, fmt.Errorf("process %d is in cgroup %q and not in %s", pid, group, p.Unit)
		}
		return Open(Place{Mount: p.Mount, Path: group, Unit: p.Unit, Bus: p.Bus})
	}()
	if err != nil {
		return nil, errors.Join(err, m.stop(ctx, p.Unit))
	}
	return g, nil
}

func isReply(err error, name string) bool {
	var e *replyError
	return errors.As(err, &e) && e.name == name
}

// stop ends a scope. Its processes get SIGTERM and, after their time, SIGKILL.
func (m *manager) stop(ctx context.Context, unit string) error {
	err := m.job(ctx, "StopUnit", "ss", func(e *encoder) {
		e.string(unit)
		e.string("replace")
	})
	if isReply(err, errNoUnit) {
		return nil
	}
	return err
}

// stopUnit ends a scope that has no processes any more. systemd usually has
// done so.
func stopUnit(ctx context.Context, p Place) error {
	if g, err := Open(p); errors.Is(err, ErrGone) {
		return nil
	} else if err == nil {
		g.Close()
	}
	m, err := dialManager(ctx, p.Bus)
	if err != nil {
		return err
	}
	defer m.close()
	if err := m.stop(ctx, p.Unit); err != nil {
		return fmt.Errorf("stop %s: %w", p.Unit, deadline(err))
	}
	return nil
}

// updateUnit tells systemd of limits that change.
func updateUnit(p Place, r *specs.LinuxResources) error {
	list, err := limitProperties(r)
	if err != nil || len(list) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := dialManager(ctx, p.Bus)
	if err != nil {
		return err
	}
	defer m.close()
	_, err = m.do(ctx, "SetUnitProperties", "sba(sv)", func(e *encoder) {
		e.string(p.Unit)
		e.uint32(1) // until the next boot
		e.properties(list)
	})
	if err != nil {
		return fmt.Errorf("set properties of %s: %w", p.Unit, deadline(err))
	}
	return nil
}

// attach asks systemd to move a process into a scope, or below it: between a
// session and the user's manager only systemd may (Linux delegation), and it
// asks the system's manager where it may not itself.
func attach(p Place, pid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := dialManager(ctx, p.Bus)
	if err != nil {
		return err
	}
	defer m.close()
	below := "/"
	for up := p.Path; path.Base(up) != p.Unit && up != "/"; up = path.Dir(up) {
		below = path.Join("/", path.Base(up), below)
	}
	_, err = m.do(ctx, "AttachProcessesToUnit", "ssau", func(e *encoder) {
		e.string(p.Unit)
		e.string(below)
		e.array(4, func() { e.uint32(uint32(pid)) })
	})
	if err != nil {
		return fmt.Errorf("move process %s into %s: %w", strconv.Itoa(pid), p.Unit, deadline(err))
	}
	return nil
}
