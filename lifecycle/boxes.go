package lifecycle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// Errors of looking up people's containers.
var (
	ErrNoBox      = errors.New("no such container")
	ErrAmbiguous  = errors.New("several containers have an id that begins so")
	ErrBoxRunning = errors.New("the container is running")
)

// Boxes lists people's containers, running or not.
func (h Home) Boxes() ([]BoxRecord, error) {
	entries, err := os.ReadDir(filepath.Join(h.Data, "containers"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []BoxRecord
	for _, e := range entries {
		rec, err := h.readBox(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is being made or removed
		}
		if err != nil {
			return nil, err
		}
		list = append(list, rec)
	}
	return list, nil
}

func (h Home) readBox(id string) (BoxRecord, error) {
	var rec BoxRecord
	text, err := os.ReadFile(filepath.Join(h.Data, "containers", id, "container.json"))
	if err == nil {
		err = json.Unmarshal(text, &rec)
	}
	if err != nil {
		return rec, fmt.Errorf("read container %s: %w", id, err)
	}
	return rec, nil
}

// Find finds a container by its name, its id or the beginning of the id.
func (h Home) Find(name string) (BoxRecord, error) {
	if checkID(name) == nil {
		id, err := os.ReadFile(filepath.Join(h.Data, "container-names", name))
		if err == nil {
			return h.readBox(string(id))
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return BoxRecord{}, err
		}
	}
	list, err := h.Boxes()
	if err != nil {
		return BoxRecord{}, err
	}
	var found []BoxRecord
	for _, rec := range list {
		if name != "" && strings.HasPrefix(rec.ID, name) {
			found = append(found, rec)
		}
	}
	switch len(found) {
	case 0:
		return BoxRecord{}, fmt.Errorf("%w: %s", ErrNoBox, name)
	case 1:
		return found[0], nil
	}
	return BoxRecord{}, fmt.Errorf("%w: %s", ErrAmbiguous, name)
}

// Folder is where a container's own files are.
func (h Home) Folder(rec BoxRecord) string { return filepath.Join(h.Data, "containers", rec.ID) }

// Running tells whether the monitor of a container lives.
func (h Home) Running(rec BoxRecord) (bool, error) {
	f, err := os.Open(filepath.Join(h.Runtime, "boxes", rec.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// Remove removes a container that does not run. force ends it first. asRoot is
// as for [Box.End].
func (h Home) Remove(rec BoxRecord, force bool, asRoot func(path string) error) error {
	running, err := h.Running(rec)
	if err != nil {
		return err
	}
	r := &Runtime{Root: filepath.Join(h.Runtime, "run")}
	if running {
		if !force {
			return fmt.Errorf("%w: %s", ErrBoxRunning, rec.Name)
		}
		// Its monitor records the end, and may remove the container itself.
		if err := r.Delete(rec.ID, true); err != nil {
			return err
		}
	}
	lock, err := h.hold(rec)
	if err != nil {
		return err
	}
	if _, err := os.Stat(h.Folder(rec)); errors.Is(err, fs.ErrNotExist) {
		return lock.Close()
	}
	b := &Box{home: h, lock: lock, Record: rec}
	return b.remove(asRoot)
}

// hold takes the place of a container's monitor, waiting for it to end, with a
// mark by which a clean-up goes on where we may stop.
func (h Home) hold(rec BoxRecord) (*os.File, error) {
	name := filepath.Join(h.Runtime, "boxes", rec.ID)
	rec.Remove = true
	text, err := json.Marshal(&rec)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			return nil, errors.Join(os.NewSyscallError("flock", err), f.Close())
		}
		have, err := f.Stat()
		now, nerr := os.Lstat(name)
		if err != nil || nerr != nil || !os.SameFile(have, now) {
			f.Close() // the monitor removed it as it ended
			continue
		}
		err = f.Truncate(0)
		if err == nil {
			_, err = f.WriteAt(text, 0)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
}
