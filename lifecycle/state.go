package lifecycle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"airplant/internal/sys"
	"airplant/lifecycle/cgroup"
	"airplant/lifecycle/plan"
	"airplant/lifecycle/rdt"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Errors for decisions.
var (
	// ErrNotExist is returned for a container that does not exist.
	ErrNotExist = errors.New("container does not exist")
	// ErrExist is returned when a container of the name exists.
	ErrExist = errors.New("container with given ID already exists")
	// ErrState is returned when the container is not in the state that the
	// operation needs.
	ErrState = errors.New("wrong state")
)

// stateVersion is the format of state.json that we write. Newer ones are
// refused; there are no older ones yet.
const stateVersion = 1

const (
	stateFile   = "state.json"
	makingFile  = "creating.json" // what state.json is called until the container is made
	startSocket = "start"
	configFile  = "config.json" // what the container was made of
)

// Record is what state.json holds.
type Record struct {
	Version     int               `json:"version"`
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       int               `json:"owner"`
	// Hooks that are still to run: a change of config.json after create must
	// not affect the container.
	Hooks *specs.Hooks `json:"hooks,omitempty"`
	// The first process, 0 while it is made: by pid in our pid namespace, its
	// start time in clock ticks after boot (proc(5), stat field 22), and the
	// boot it belongs to.
	PID       int    `json:"pid,omitempty"`
	StartTime uint64 `json:"startTime,omitempty"`
	BootID    string `json:"bootID,omitempty"`
	OwnPIDs   bool   `json:"ownPIDs"` // it has a pid namespace of its own
	Paused    bool   `json:"paused,omitzero"`
	// Filtered: the folder has the seccomp filter of all the container's
	// processes, whose agent is Listener. ExecveAt is the plan's instruction that
	// executes the program.
	Filtered bool      `json:"filtered,omitzero"`
	Listener *Listener `json:"listener,omitempty"`
	ExecveAt int       `json:"execveAt,omitzero"`
	// Cgroup is the container's own, if it has one.
	Cgroup cgroup.Place `json:"cgroup,omitzero"`
	// Kin tells its processes from others where it has neither a pid namespace
	// nor a cgroup of its own.
	Kin kin `json:"kin,omitzero"`
	// Rdt is what delete removes of resctrl.
	Rdt *rdt.Group `json:"rdt,omitempty"`

	making bool // it is not made yet, or its creator has died
}

// container is an open and locked container folder.
type container struct {
	Record
	path string
	dir  *os.File // holds the lock
}

func checkID(id string) error {
	const valid = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-"
	if id == "" || id == "." || id == ".." || len(id) > 255 || strings.Trim(id, valid) != "" {
		return fmt.Errorf("invalid container ID %q: letters, digits and _+.- only", id)
	}
	return nil
}

// add makes the folder of a new container and locks it. A folder without a
// state.json is a container in the making, or, without a lock, what is left of
// one; so the folder is made before anything else.
func (r *Runtime) add(id string) (*container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	path := filepath.Join(r.Root, id)
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(r.Root, 0o700); err == nil {
			err = os.Mkdir(path, 0o700)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: %s", ErrExist, id)
	}
	if err != nil {
		return nil, err
	}
	c, err := r.lock(id)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	c.ID = id
	return c, nil
}

// folder opens a container's folder, without its lock.
func (r *Runtime) folder(id string) (*container, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	path := filepath.Join(r.Root, id)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w: %s", ErrNotExist, id)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &container{path: path, dir: os.NewFile(uintptr(fd), path)}, nil
}

// lock opens a container's folder and takes its lock. For one that is in the
// making it waits only a while: a hook may keep it so for ever.
func (r *Runtime) lock(id string) (*container, error) {
	for {
		c, err := r.folder(id)
		if err != nil {
			return nil, err
		}
		if errors.Is(unix.Flock(int(c.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
			_, _, err = r.made(id)
		}
		if err == nil {
			err = c.relock()
		}
		if err == nil {
			return c, nil
		}
		if closed := c.close(); closed != nil || !errors.Is(err, ErrNotExist) {
			return nil, errors.Join(err, closed)
		}
	}
}

// open locks a container and reads its state.
func (r *Runtime) open(id string) (*container, error) {
	c, err := r.lock(id)
	if err != nil {
		return nil, err
	}
	c.Record, err = r.read(id)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// made looks at a container once it is made: its creator takes milliseconds, but
// for hooks.
func (r *Runtime) made(id string) (Record, specs.ContainerState, error) {
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		rec, status, err := r.look(id)
		if err != nil || status != specs.StateCreating {
			return rec, status, err
		}
		patience := 10 * time.Second
		if plan.HooksOnCreate(rec.Hooks) {
			patience = time.Second / 4
		}
		if time.Since(start) > patience {
			return rec, status, fmt.Errorf("%w: container %s is creating", ErrState, id)
		}
	}
}

// look reads a container's record, without its lock, and finds its state of the
// runtime-spec.
func (r *Runtime) look(id string) (Record, specs.ContainerState, error) {
	unlocked := false
	for {
		rec, err := r.read(id)
		switch {
		case err != nil:
			return rec, "", err
		case rec.PID != 0 && !rec.making || unlocked:
			return rec, r.held(&rec), nil
		case r.locked(id):
			return rec, specs.StateCreating, nil
		}
		// It was completed meanwhile, or its creator has died.
		unlocked = true
	}
}

// read reads a container's state without its lock: it is replaced by rename.
func (r *Runtime) read(id string) (rec Record, err error) {
	if err := checkID(id); err != nil {
		return rec, err
	}
	var text []byte
	var from string
	// The second name becomes the first when the container is made.
	for _, from = range []string{stateFile, makingFile, stateFile} {
		if text, err = sys.ReadFile(filepath.Join(r.Root, id, from)); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(r.Root, id)); err == nil {
			return Record{ID: id}, nil
		}
		return rec, fmt.Errorf("%w: %s", ErrNotExist, id)
	}
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(text, &rec); err != nil {
		return rec, fmt.Errorf("read the state of %s: %w", id, err)
	}
	if rec.Version > stateVersion {
		return rec, fmt.Errorf("the state of %s has format %d, made by a newer airplant; this one knows up to %d", id, rec.Version, stateVersion)
	}
	rec.making = from == makingFile
	return rec, nil
}

// save replaces state.json. It is not synced: it dies with the boot.
func (c *container) save() error {
	c.Version = stateVersion
	text, err := json.Marshal(&c.Record)
	if err != nil {
		return err
	}
	name := filepath.Join(c.path, stateFile)
	if c.making {
		name = filepath.Join(c.path, makingFile)
	}
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// complete makes known that the container is made.
func (c *container) complete() error {
	c.making = false
	return os.Rename(filepath.Join(c.path, makingFile), filepath.Join(c.path, stateFile))
}

// remove ends what is left of the container and removes its cgroup, its folder
// and its lock. What cannot be removed stays known, to be tried again.
func (c *container) remove() error {
	if err := errors.Join(endRest(&c.Record), removeGroup(&c.Record), c.Rdt.Remove()); err != nil {
		return errors.Join(err, c.close())
	}
	for _, name := range []string{startSocket, configFile, criuRoot, filterFile, failureFile, makingFile, makingFile + ".new", stateFile, stateFile + ".new"} {
		if err := os.Remove(filepath.Join(c.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, c.close())
		}
	}
	return errors.Join(os.Remove(c.path), c.close())
}

func (c *container) close() error { return c.dir.Close() }

// started records the first process.
func (c *container) started(pid int, spec *specs.Spec) error {
	start, err := startTime(pid)
	if err != nil {
		return err
	}
	c.PID, c.StartTime = pid, start
	if c.BootID, err = bootID(); err != nil {
		return err
	}
	if !c.OwnPIDs && c.Cgroup.Path == "" {
		c.Kin = kinOf(pid, spec)
	}
	return c.save()
}

func bootID() (string, error) {
	text, err := sys.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text)), err
}

// startTime is field 22 of /proc/PID/stat, an error for a process that is
// gone or a zombie. The second field, the name, may hold anything.
func startTime(pid int) (uint64, error) {
	text, err := sys.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text[max(0, strings.LastIndexByte(string(text), ')')):]), ") ")
	f := strings.Fields(after)
	if len(f) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	if f[0] == "Z" || f[0] == "X" {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// held is the status of a container whose lock is ours.
func (r *Runtime) held(rec *Record) specs.ContainerState {
	// Without a creator it cannot be made any more.
	if rec.PID == 0 || rec.making || !alive(rec) {
		return specs.StateStopped
	}
	if rec.Paused {
		return StatePaused
	}
	if _, err := os.Lstat(filepath.Join(r.Root, rec.ID, startSocket)); err == nil {
		return specs.StateCreated
	}
	return specs.StateRunning
}

// alive reports whether the first process still runs.
func alive(rec *Record) bool {
	start, err := startTime(rec.PID)
	if err != nil || start != rec.StartTime {
		return false
	}
	boot, err := bootID()
	return err == nil && boot == rec.BootID
}

// locked reports whether somebody holds the container's lock.
func (r *Runtime) locked(id string) bool {
	fd, err := unix.Open(filepath.Join(r.Root, id), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return errors.Is(unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// unlock lets others at the container, which stays open here.
func (c *container) unlock() error {
	return os.NewSyscallError("flock", unix.Flock(int(c.dir.Fd()), unix.LOCK_UN))
}

// relock takes the lock. While we waited for it the folder may have been
// removed, and perhaps another made in its place: that is ErrNotExist.
func (c *container) relock() error {
	err := unix.Flock(int(c.dir.Fd()), unix.LOCK_EX)
	for errors.Is(err, unix.EINTR) {
		err = unix.Flock(int(c.dir.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return os.NewSyscallError("flock", err)
	}
	var ours, there unix.Stat_t
	if err := unix.Fstat(int(c.dir.Fd()), &ours); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if err := unix.Lstat(c.path, &there); err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "lstat", Path: c.path, Err: err}
	}
	if ours.Ino != there.Ino || ours.Dev != there.Dev {
		return fmt.Errorf("%w: %s", ErrNotExist, filepath.Base(c.path))
	}
	return nil
}
