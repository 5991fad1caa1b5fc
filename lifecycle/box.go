package lifecycle

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Home is where the containers of people live.
//
//	Data/containers/ID/      what survives a reboot: container.json, upper, …
//	Data/container-names/N   the ID of the container of that name
//	Runtime/boxes/ID         a file for each container whose monitor lives, and
//	                         locked by it: all that a clean-up looks at
//	Runtime/run/ID/          the state of the running container (see Runtime)
type Home struct {
	Data, Runtime string
}

// Box is a container of `airplant run`: its folder, held by its monitor.
type Box struct {
	home   Home
	lock   *os.File // of Runtime/boxes/ID
	Record BoxRecord
}

// boxVersion is the format of container.json and of the files in boxes.
const boxVersion = 1

// BoxRecord is what container.json holds.
type BoxRecord struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Name    string `json:"name"`
	Image   string `json:"image"`
	// ImageID is the digest of the image's configuration, if it has one.
	ImageID string `json:"imageID,omitempty"`
	// Config is what the command line changed of the image's configuration,
	// for a commit.
	Config *v1.ImageConfig `json:"config,omitempty"`
	// MountPoints are where the container has mounts.
	MountPoints []string `json:"mountPoints,omitempty"`
	// Layers are directories of the image store that must stay.
	Layers []string `json:"layers,omitempty"`
	// Remove: the container goes when its program has ended.
	Remove bool `json:"remove"`
	// Status is the exit status, once the program has ended.
	Status *int `json:"status,omitempty"`
}

// ErrName is returned for a name that another container has.
var ErrName = errors.New("the name is in use")

// NewID makes a random id of 64 hexadecimal digits.
func NewID() string {
	b := make([]byte, 32)
	for {
		// So few bytes come whole; a signal may interrupt only the wait for
		// the first entropy after a boot (getrandom(2)).
		if n, err := unix.Getrandom(b, 0); err == nil && n == len(b) {
			return hex.EncodeToString(b)
		}
	}
}

// Folder is where the container's own files are.
func (b *Box) Folder() string { return filepath.Join(b.home.Data, "containers", b.Record.ID) }

// NewBox makes the folder of a container. The caller ends it with [Box.End].
// Intent comes first: what follows from a crash is found by the next command.
func (h Home) NewBox(rec BoxRecord) (_ *Box, err error) {
	if err := checkID(rec.Name); err != nil {
		return nil, fmt.Errorf("name of the container: %w", err)
	}
	rec.Version = boxVersion
	b := &Box{home: h, Record: rec}
	if b.lock, err = h.mark(&rec); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.remove(nil))
		}
	}()
	if err := mkdir(b.Folder()); err != nil {
		return nil, err
	}
	if err := h.takeName(rec.Name, rec.ID); err != nil {
		b.Record.Name = "" // it is another's
		return nil, err
	}
	return b, b.save()
}

// mkdir makes a directory of ours alone, and those above it.
func mkdir(path string) error {
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err = os.Mkdir(path, 0o700)
	}
	return err
}

// mark makes the file that says that a monitor lives, and locks it.
func (h Home) mark(rec *BoxRecord) (*os.File, error) {
	name := filepath.Join(h.Runtime, "boxes", rec.ID)
	const flags = os.O_CREATE | os.O_EXCL | os.O_RDWR
	f, err := os.OpenFile(name, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		// The first container since the boot: others may have been left by
		// the one before.
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return nil, err
		}
		if err := h.sweepAll(); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(name, flags, 0o600)
	}
	if err != nil {
		return nil, err
	}
	// A clean-up of another command may hold it for a moment, and then sees
	// that it is empty.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(os.NewSyscallError("flock", err), f.Close())
	}
	text, err := json.Marshal(rec)
	if err == nil {
		_, err = f.Write(text)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(name), f.Close())
	}
	return f, nil
}

func (h Home) takeName(name, id string) error {
	file := filepath.Join(h.Data, "container-names", name)
	write := func() error {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = f.WriteString(id)
		return errors.Join(err, f.Close())
	}
	err := write()
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		err = write()
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s", ErrName, name)
	}
	return err
}

func (b *Box) save() error {
	text, err := json.Marshal(&b.Record)
	if err != nil {
		return err
	}
	name := filepath.Join(b.Folder(), "container.json")
	if err := os.WriteFile(name+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// End records the exit status, or removes the container. asRoot removes what
// belongs to ids other than ours; it may be nil.
func (b *Box) End(status int, asRoot func(path string) error) error {
	if b.Record.Remove {
		return b.remove(asRoot)
	}
	b.Record.Status = &status
	return errors.Join(b.save(), b.unmark())
}

func (b *Box) unmark() error {
	return errors.Join(os.Remove(filepath.Join(b.home.Runtime, "boxes", b.Record.ID)), b.lock.Close())
}

// remove removes all of the container; the mark goes last.
func (b *Box) remove(asRoot func(path string) error) error {
	if err := removeTree(b.Folder(), asRoot); err != nil {
		return errors.Join(err, b.lock.Close())
	}
	if b.Record.Name != "" {
		if err := os.Remove(filepath.Join(b.home.Data, "container-names", b.Record.Name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, b.lock.Close())
		}
	}
	return b.unmark()
}

// removeTree tries it as the caller first: mostly all files are its own.
func removeTree(path string, asRoot func(path string) error) error {
	err := os.RemoveAll(path)
	if errors.Is(err, fs.ErrPermission) && asRoot != nil {
		return asRoot(path)
	}
	return err
}
