package lifecycle

import (
	"errors"
	"io/fs"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// State is a container as `state` and `list` print it, in runc's form: the
// runtime-spec's state and a little more.
type State struct {
	Version     string               `json:"ociVersion"`
	ID          string               `json:"id"`
	PID         int                  `json:"pid"`
	Status      specs.ContainerState `json:"status"`
	Bundle      string               `json:"bundle"`
	Rootfs      string               `json:"rootfs"`
	Created     time.Time            `json:"created"`
	Annotations map[string]string    `json:"annotations,omitempty"`
	// OwnerUID is the user who made the container.
	OwnerUID int `json:"-"`
}

// State reads the state of a container.
func (r *Runtime) State(id string) (*State, error) {
	rec, status, err := r.look(id)
	if err != nil {
		return nil, err
	}
	s := &State{
		Version: specs.Version, ID: rec.ID, PID: rec.PID, Status: status,
		Bundle: rec.Bundle, Rootfs: rec.Rootfs, Created: rec.Created, Annotations: rec.Annotations, OwnerUID: rec.Owner,
	}
	if s.Status == specs.StateStopped {
		s.PID = 0
	}
	return s, nil
}

// List reads the states of all containers, by name. One that is removed
// meanwhile is left out.
func (r *Runtime) List() ([]*State, error) {
	entries, err := os.ReadDir(r.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []*State
	for _, e := range entries {
		s, err := r.State(e.Name())
		if errors.Is(err, ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, err
}
