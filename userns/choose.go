package userns

import (
	"bufio"
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Rung is a step of the ladder of identities, best first.
type Rung string

// The rungs.
const (
	Subids Rung = "subids" // the caller and its subordinate ids
	Direct Rung = "direct" // root: all ids of its own user namespace
	OneID  Rung = "one id" // the caller's id alone
)

// Identity is who containers of the caller may be.
type Identity struct {
	Rung       Rung
	UID, GID   int // of the caller
	UIDs, GIDs []Range
	all        Map // where Rung is Direct
}

// Choose finds the best rung for the caller. privileged says that it has
// CAP_SYS_ADMIN over its user namespace.
func Choose(uid, gid int, privileged bool) (*Identity, error) {
	id := &Identity{Rung: OneID, UID: uid, GID: gid}
	if privileged {
		return id, id.direct()
	}
	var err error
	if id.UIDs, id.GIDs, err = Own(Login(uid), uid); err != nil {
		return nil, err
	}
	if len(id.UIDs) == 0 {
		return id, nil
	}
	if _, err := FindHelpers(); err != nil {
		id.UIDs, id.GIDs = nil, nil
		return id, nil //nolint:nilerr // without helpers there is one id; doctor names what is missing
	}
	id.Rung = Subids
	return id, nil
}

// direct maps every id of our namespace to itself. Capabilities then end at the
// new namespace's bounds, which is the point of it for root.
func (id *Identity) direct() (err error) {
	id.Rung = Direct
	if id.all.UIDs, err = identical("/proc/self/uid_map"); err == nil {
		id.all.GIDs, err = identical("/proc/self/gid_map")
	}
	return err
}

func identical(file string) ([]specs.LinuxIDMapping, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []specs.LinuxIDMapping
	s := bufio.NewScanner(f)
	for s.Scan() {
		var inside, outside, size uint32
		if _, err := fmt.Sscan(s.Text(), &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		list = append(list, specs.LinuxIDMapping{ContainerID: inside, HostID: inside, Size: size})
	}
	return list, s.Err()
}

// Map is the usual map: 0 inside is the caller.
func (id *Identity) Map() Map {
	switch id.Rung {
	case Direct:
		return id.all
	case Subids:
		return Ranges(id.UID, id.GID, id.UIDs, id.GIDs)
	}
	return One(id.UID, id.GID, 0, 0)
}

// Keep is the map in which the caller has the given ids; see [KeepID].
func (id *Identity) Keep(uid, gid int) Map {
	if id.Rung == Direct {
		return id.all
	}
	return KeepID(id.UID, id.GID, uid, gid, id.UIDs, id.GIDs)
}
