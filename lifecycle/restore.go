package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"airplant/internal/birth"
	"airplant/lifecycle/criu"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// criuRoot is the folder of a container where its root filesystem is mounted
// for CRIU, in a mount namespace of CRIU's own.
const criuRoot = "criu-root"

// Restore makes a container of what [Runtime.Checkpoint] has written. It is
// running then; the rest is as with [Runtime.Run].
func (r *Runtime) Restore(id string, spec *specs.Spec, o *RunOptions, images *Images) (status int, err error) {
	if err := checkID(id); err != nil {
		return 0, err
	}
	if _, err := r.read(id); !errors.Is(err, ErrNotExist) {
		return 0, errors.Join(err, fmt.Errorf("%w: %s", ErrExist, id))
	}
	if err := mayCheckpoint(); err != nil {
		return 0, err
	}
	if spec.Root == nil || spec.Linux == nil {
		return 0, errors.New("config.json has no root or linux")
	}
	if err := checkConsole(spec, o.ConsoleSocket, o.Detach); err != nil {
		return 0, err
	}
	b, err := r.revive(id, spec, o, images)
	if err != nil {
		return 0, err
	}
	if o.Detach {
		return 0, errors.Join(b.container.close(), b.close())
	}
	signals := make(chan os.Signal, len(forwarded))
	signal.Notify(signals, forwarded...)
	status, err = b.foreground(signals)
	if o.Keep {
		err = errors.Join(err, b.container.close())
	} else {
		err = errors.Join(err, r.removeEnded(b.container))
	}
	return status, errors.Join(err, b.close())
}

// revive makes the container up to where it runs. When it fails, nothing is left.
func (r *Runtime) revive(id string, spec *specs.Spec, o *RunOptions, images *Images) (_ *newborn, err error) {
	if err := images.open(false); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, images.close()) }()
	c, err := r.add(id)
	if err != nil {
		return nil, err
	}
	c.Record = Record{
		ID: id, Bundle: o.Bundle, Rootfs: rootfs(spec, o.Bundle), Created: time.Now().UTC(),
		Annotations: spec.Annotations, Owner: os.Geteuid(), OwnPIDs: ownPIDs(spec), Hooks: spec.Hooks, making: true,
	}
	b := &newborn{container: c, inject: birth.NoFail()}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.undo(o.PidFile))
			r.poststop(&c.Record)
		}
	}()
	if err := b.restore(spec, o, images); err != nil {
		return nil, err
	}
	if err := c.keepConfig(spec); err != nil {
		return nil, err
	}
	var ours ourImage
	if text, err := os.ReadFile(filepath.Join(images.Path, ourFile)); err == nil {
		if err := json.Unmarshal(text, &ours); err != nil {
			return nil, fmt.Errorf("read %s: %w", ourFile, err)
		}
	}
	if ours.Paused {
		// Without a cgroup it was paused by signals, and is restored so.
		if err := signalAll(&c.Record, unix.SIGCONT); err != nil {
			return nil, err
		}
	}
	if err := os.Remove(filepath.Join(c.path, criuRoot)); err != nil {
		return nil, err
	}
	return b, errors.Join(c.complete(), c.unlock())
}

// restore has CRIU make the processes.
func (b *newborn) restore(spec *specs.Spec, o *RunOptions, images *Images) (err error) {
	root, err := os.OpenFile(b.container.Rootfs, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("root filesystem %s: %w", b.container.Rootfs, err)
	}
	defer root.Close()
	if err := mountPoints(spec, o.Bundle, root); err != nil {
		return err
	}
	request := images.request(spec)
	request.LogFile, request.EvasiveDevices, request.Sibling = restoreLog, true, true
	request.LSMProfile, request.LSMMountContext = images.LSMProfile, images.LSMMountContext
	if request.Mounts, err = sources(spec, o.Bundle, root); err != nil {
		return err
	}
	if err := images.inherit(request); err != nil {
		return err
	}
	var extra []*os.File
	defer func() { err = errors.Join(err, closeAll(extra)) }()
	for _, n := range sharedNamespaces(spec) {
		f, err := os.Open(n.Path)
		if err != nil {
			return fmt.Errorf("namespace %s: %w", n.Type, err)
		}
		request.Inherit = append(request.Inherit, criu.Inherited{Key: n.key, FD: criu.FirstExtra + len(extra)})
		extra = append(extra, f)
	}
	if request.Root, err = b.container.criuRoot(); err != nil {
		return err
	}
	server, err := startBesides(images.CRIU, request.Root, b.container.Rootfs, extra)
	if err != nil {
		return err
	}
	pid, err := server.Do(criu.Restore, request, func(n criu.Notice) error { return b.onRestore(n, spec, o) })
	if err != nil {
		return images.explain(err, restoreLog)
	}
	if b.child == nil || b.child.PID != pid {
		return fmt.Errorf("CRIU restored process %d and did not say so in time", pid)
	}
	return nil
}

// inherit gives the restored program our standard descriptors in place of those
// that were left out of the images.
func (o *Images) inherit(request *criu.Options) error {
	text, err := os.ReadFile(filepath.Join(o.Path, descriptorsFile))
	if err != nil {
		return err
	}
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return fmt.Errorf("read %s: %w", descriptorsFile, err)
	}
	for fd, name := range names {
		if fd < 3 && (strings.HasPrefix(name, "pipe:") || strings.HasPrefix(name, "file[")) {
			request.Inherit = append(request.Inherit, criu.Inherited{Key: name, FD: fd})
		}
	}
	return nil
}

// onRestore hears what CRIU says while it restores. The container is recorded
// before its processes go on.
func (b *newborn) onRestore(n criu.Notice, spec *specs.Spec, o *RunOptions) error {
	rec := &b.container.Record
	switch n.Script {
	case "setup-namespaces":
		hooks := spec.Hooks
		if hooks == nil {
			return nil
		}
		rec.PID = n.PID
		state := hookState(rec, specs.StateCreating)
		if err := onHost("prestart", hooks.Prestart, state); err != nil { //nolint:staticcheck // deprecated, and sent
			return err
		}
		return onHost("createRuntime", hooks.CreateRuntime, state)
	case "post-restore":
		fd, err := unix.PidfdOpen(n.PID, 0)
		if err != nil {
			return os.NewSyscallError("pidfd_open", err)
		}
		b.child = &birth.Child{PID: n.PID, PidFD: os.NewFile(uintptr(fd), "pidfd")}
		if err := b.container.started(n.PID, spec); err != nil {
			return err
		}
		if o.PidFile != "" {
			return writePidFile(o.PidFile, n.PID)
		}
	case "orphan-pts-master":
		return b.takeTerminal(n.File, o.ConsoleSocket)
	}
	return nil
}

// takeTerminal hands the master of the restored terminal to the engine, or to
// our own relay.
func (b *newborn) takeTerminal(master *os.File, socket string) (err error) {
	if master == nil {
		return errors.New("CRIU sent no terminal")
	}
	defer func() { err = errors.Join(err, master.Close()) }()
	var conn *os.File
	if socket != "" {
		conn, err = dialSocket("console", socket)
	} else {
		b.console, conn, err = socketPair()
	}
	if err != nil {
		return err
	}
	return errors.Join(sendFile(conn, master, "/dev/pts/ptmx"), conn.Close())
}

// criuRoot makes the folder for the root filesystem. Its path has no links,
// which CRIU would not follow.
func (c *container) criuRoot() (string, error) {
	name := filepath.Join(c.path, criuRoot)
	if err := os.Mkdir(name, 0o700); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(name)
}

// startBesides starts CRIU in a mount namespace of its own, where the root
// filesystem is a mount that nothing lies over, as CRIU needs it. The thread
// that goes there never comes back: it ends with its goroutine.
func startBesides(program, root, rootfs string, extra []*os.File) (server *criu.Server, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_FS|unix.CLONE_NEWNS)); err != nil {
			return
		}
		for _, m := range []struct {
			from, to string
			flags    uintptr
		}{
			{"", "/", unix.MS_SLAVE | unix.MS_REC},
			{rootfs, root, unix.MS_BIND | unix.MS_REC},
			{"", root, unix.MS_PRIVATE | unix.MS_REC},
		} {
			if err = unix.Mount(m.from, m.to, "", m.flags, ""); err != nil {
				err = fmt.Errorf("mount the root filesystem for CRIU: %w", err)
				return
			}
		}
		stdio := [3]*os.File{os.Stdin, os.Stdout, os.Stderr} //nolint:forbidigo // what the program inherits
		server, err = criu.Start(program, stdio, extra...)
	}()
	<-done
	return server, err
}

func closeAll(list []*os.File) (err error) {
	for _, f := range list {
		err = errors.Join(err, f.Close())
	}
	return err
}
