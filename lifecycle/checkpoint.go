package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"airplant/lifecycle/criu"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ErrNoCheckpoint is returned to who is not the host's root.
var ErrNoCheckpoint = errors.New("CRIU works for root of the host alone: containers of a normal user, or in a user namespace, cannot be checkpointed or restored")

// Images are the choices that checkpoint and restore share.
type Images struct {
	CRIU              string // the program
	Path              string // folder of the images
	Work              string // folder of logs; that of the images without it
	TCPEstablished    bool
	ExternalSockets   bool
	ShellJob          bool
	FileLocks         bool
	LazyPages         bool
	AutoDedup         bool
	ManageCgroups     int // a mode of CRIU's
	EmptyNamespaces   int // CLONE_NEW…
	PageServer        string
	PageServerPort    int
	Parent            string // images of an earlier pre-dump, relative to Path
	LeaveRunning      bool
	PreDump           bool
	StatusFD          *os.File // takes a zero byte when lazy pages can be had
	LSMProfile        string
	LSMMountContext   string
	images, work, log *os.File
}

// What a checkpoint has besides CRIU's images: the standard descriptors, in the
// form of runc's file, and what only we know.
const (
	descriptorsFile = "descriptors.json"
	ourFile         = "airplant.json"
	dumpLog         = "dump.log"
	restoreLog      = "restore.log"
)

type ourImage struct {
	Paused bool `json:"paused"`
}

// mayCheckpoint refuses what CRIU would refuse with less words.
func mayCheckpoint() error {
	common, err := host()
	if err == nil && !(common.Initial && common.Privileged) {
		err = ErrNoCheckpoint
	}
	return err
}

// Checkpoint writes a running or paused container to files. Unless it is to run
// on, it is removed.
func (r *Runtime) Checkpoint(id string, o *Images) error {
	c, err := r.open(id)
	if err != nil {
		return err
	}
	status := r.held(&c.Record)
	switch {
	case status != specs.StateRunning && status != StatePaused:
		err = fmt.Errorf("%w: cannot checkpoint a container that is %s", ErrState, status)
	default:
		err = mayCheckpoint()
	}
	if err == nil {
		err = c.dump(o, status == StatePaused)
	}
	err = errors.Join(err, c.close())
	if err != nil || o.LeaveRunning || o.PreDump {
		return err
	}
	return r.Delete(id, true)
}

func (c *container) dump(o *Images, paused bool) (err error) {
	spec, err := LoadSpecFile(filepath.Join(c.path, configFile))
	if err != nil {
		return err
	}
	if err := o.open(true); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	request := o.request(spec)
	request.PID, request.Root, request.LogFile = c.PID, c.Rootfs, dumpLog
	request.LeaveRunning, request.Parent = o.LeaveRunning, o.Parent
	request.PageServer, request.PageServerPort = o.PageServer, o.PageServerPort
	kind := criu.PreDump
	if !o.PreDump {
		kind = criu.Dump
		if request.Mounts, err = externalMounts(c.PID); err != nil {
			return err
		}
		if err := o.descriptors(c.PID, request); err != nil {
			return err
		}
		if err := writeJSON(filepath.Join(o.Path, ourFile), ourImage{Paused: paused}); err != nil {
			return err
		}
	}
	for _, n := range sharedNamespaces(spec) {
		var st unix.Stat_t
		if err := unix.Stat(n.Path, &st); err != nil {
			return &os.PathError{Op: "stat", Path: n.Path, Err: err}
		}
		request.External = append(request.External, fmt.Sprintf("%s[%d]:%s", n.file, st.Ino, n.key))
	}
	server, err := criu.Start(o.CRIU, [3]*os.File{})
	if err != nil {
		return err
	}
	_, err = server.Do(kind, request, o.onDump)
	return o.explain(err, dumpLog)
}

// onDump hears what CRIU says while it dumps.
func (o *Images) onDump(n criu.Notice) error {
	if n.Script != "status-ready" || o.StatusFD == nil {
		return nil
	}
	_, err := o.StatusFD.Write([]byte{0})
	return errors.Join(err, o.StatusFD.Close())
}

// open opens the folders, and makes those that a checkpoint goes to.
func (o *Images) open(create bool) (err error) {
	for _, d := range []struct {
		path string
		file **os.File
		make bool
	}{{o.Path, &o.images, create}, {o.Work, &o.work, true}} {
		if d.path == "" {
			continue
		}
		if d.make {
			if err := os.Mkdir(d.path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
				return errors.Join(err, o.close())
			}
		}
		if *d.file, err = os.Open(d.path); err != nil {
			return errors.Join(err, o.close())
		}
	}
	o.log = o.images
	if o.work != nil {
		o.log = o.work
	}
	return nil
}

func (o *Images) close() (err error) {
	for _, f := range []*os.File{o.images, o.work} {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	o.images, o.work, o.log = nil, nil, nil
	return err
}

// request is what checkpoint and restore have in common.
func (o *Images) request(spec *specs.Spec) *criu.Options {
	request := &criu.Options{
		Images: int(o.images.Fd()), TCPEstablished: o.TCPEstablished, ExternalSockets: o.ExternalSockets,
		ShellJob: o.ShellJob, FileLocks: o.FileLocks, LazyPages: o.LazyPages, AutoDedup: o.AutoDedup,
		ManageCgroups: o.ManageCgroups, EmptyNamespaces: o.EmptyNamespaces, OrphanPTSMasters: true,
		ConfigFile: criuConfig(spec),
	}
	if o.work != nil {
		request.Work = int(o.work.Fd())
	}
	return request
}

// criuConfig is a file with further options of CRIU's, where engines expect to
// put it.
func criuConfig(spec *specs.Spec) string {
	const shared = "/etc/criu/runc.conf"
	if file, ok := spec.Annotations["org.criu.config"]; ok {
		return file
	}
	if _, err := os.Stat(shared); err == nil {
		return shared
	}
	return ""
}

// explain adds what CRIU's log says: the last error but that it failed. Earlier
// ones may be of no consequence.
func (o *Images) explain(err error, log string) error {
	var refused *criu.Error
	if !errors.As(err, &refused) {
		return err
	}
	name := filepath.Join(o.log.Name(), log)
	text, readErr := os.ReadFile(name)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	said := refused.Text
	for line := range strings.Lines(string(text)) {
		if _, after, ok := strings.Cut(line, "Error ("); ok && !strings.Contains(after, "FAILED") {
			_, said, _ = strings.Cut(strings.TrimSpace(after), "): ")
		}
	}
	refused.Text = said
	return fmt.Errorf("%w (the log is %s)", err, name)
}

// descriptors records the first process's standard descriptors. Those that lead
// out of the container are left out of the images, and given anew by restore.
func (o *Images) descriptors(pid int, request *criu.Options) error {
	inside, err := mounts("/proc/" + strconv.Itoa(pid) + "/mountinfo")
	if err != nil {
		return err
	}
	var names [3]string
	for fd := range names {
		link := fmt.Sprintf("/proc/%d/fd/%d", pid, fd)
		if names[fd], err = os.Readlink(link); err != nil {
			return fmt.Errorf("look at descriptor %d: %w", fd, err)
		}
		if !strings.HasPrefix(names[fd], "/") {
			continue
		}
		id, err := mountID(pid, fd)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Stat(link, &st); err != nil {
			return &os.PathError{Op: "stat", Path: link, Err: err}
		}
		if !hasMount(inside, id) {
			names[fd] = fmt.Sprintf("file[%x:%x]", id, st.Ino)
			request.External = append(request.External, names[fd])
		}
	}
	return writeJSON(filepath.Join(o.Path, descriptorsFile), names)
}

func writeJSON(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(name, text, 0o600)
}

// mountID is the mount that a descriptor's file was opened through (proc(5),
// fdinfo).
func mountID(pid, fd int) (int, error) {
	name := fmt.Sprintf("/proc/%d/fdinfo/%d", pid, fd)
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), "mnt_id:")
	line, _, _ := strings.Cut(after, "\n")
	id, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return 0, fmt.Errorf("%s has no mnt_id", name)
	}
	return id, nil
}
