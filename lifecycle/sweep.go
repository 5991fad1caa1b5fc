package lifecycle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// Sweep removes what monitors have left that were killed. Only containers that
// have a mark are looked at, those that run or were running, so it costs the
// same however many stopped ones there are.
func (h Home) Sweep(asRoot func(path string) error) error {
	entries, err := os.ReadDir(filepath.Join(h.Runtime, "boxes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var errs []error
	for _, e := range entries {
		if err := h.sweepOne(e.Name(), asRoot); err != nil {
			errs = append(errs, fmt.Errorf("clean up container %s: %w", e.Name(), err))
		}
	}
	return errors.Join(errs...)
}

func (h Home) sweepOne(id string, asRoot func(path string) error) error {
	f, err := os.OpenFile(filepath.Join(h.Runtime, "boxes", id), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return f.Close() // its monitor lives
	}
	b := &Box{home: h, lock: f}
	if err := json.UnmarshalRead(f, &b.Record); err != nil || b.Record.ID != id {
		// Just made and not yet locked by its maker, or never written.
		return f.Close()
	}
	r := &Runtime{Root: filepath.Join(h.Runtime, "run")}
	if err := r.Delete(id, true); err != nil {
		return errors.Join(err, f.Close())
	}
	const killed = 137 // the program went with its monitor
	return b.End(killed, asRoot)
}

// sweepAll is for the first command after a boot, when there are no marks.
func (h Home) sweepAll() error {
	dir := filepath.Join(h.Data, "containers")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		var rec BoxRecord
		text, err := os.ReadFile(filepath.Join(dir, e.Name(), "container.json"))
		if err != nil || json.Unmarshal(text, &rec) != nil || rec.Status != nil {
			continue
		}
		// It ran when the machine went down. With a mark, Sweep removes it.
		f, err := h.mark(&rec)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// Live lists the containers whose monitors live, after a [Home.Sweep].
func (h Home) Live() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(h.Runtime, "boxes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list, nil
}

// LayersInUse lists the layers of all containers, running or not.
func (h Home) LayersInUse() ([]string, error) {
	dir := filepath.Join(h.Data, "containers")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		var rec BoxRecord
		text, err := os.ReadFile(filepath.Join(dir, e.Name(), "container.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it is being removed
		}
		if err == nil {
			err = json.Unmarshal(text, &rec)
		}
		if err != nil {
			return nil, fmt.Errorf("read container %s: %w", e.Name(), err)
		}
		list = append(list, rec.Layers...)
	}
	return list, nil
}
