// Package userns decides which ids a container sees and writes id maps.
//
// A user namespace is what makes containers possible without root: in it the
// caller has every capability, over what belongs to the namespace. Its id maps
// can be written in three ways, best first (user_namespaces(7)):
//
//	helpers  newuidmap and newgidmap, which are setuid root, write the ranges
//	         that /etc/subuid and /etc/subgid give to the user
//	direct   a process with CAP_SETUID and CAP_SETGID over the parent
//	         namespace writes any map of ids that exist there
//	one id   the process itself maps its own effective id, and nothing else;
//	         setgroups(2) must be denied before
//
// The package does not create namespaces: package birth does, from a plan.
//
// Known hazard: until a map is written, the namespace's ids are all the
// overflow id, and execve(2) by a process whose id is not mapped to 0 drops
// its capabilities, so plans set ambient capabilities first.
package userns

import (
	"fmt"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Map is the id maps of a user namespace, in the runtime-spec's words.
type Map struct {
	UIDs, GIDs []specs.LinuxIDMapping
}

// One maps a single id of each kind: the caller's, seen as uid and gid inside.
func One(callerUID, callerGID, uid, gid int) Map {
	return Map{
		UIDs: []specs.LinuxIDMapping{{ContainerID: uint32(uid), HostID: uint32(callerUID), Size: 1}},
		GIDs: []specs.LinuxIDMapping{{ContainerID: uint32(gid), HostID: uint32(callerGID), Size: 1}},
	}
}

// IsOne reports whether m is a map that the caller may write without help: its
// own effective ids alone.
func (m Map) IsOne(callerUID, callerGID int) bool {
	own := func(list []specs.LinuxIDMapping, id int) bool {
		return len(list) == 1 && list[0].Size == 1 && list[0].HostID == uint32(id)
	}
	return own(m.UIDs, callerUID) && own(m.GIDs, callerGID)
}

// Ranges maps 0 to the caller and 1.. to its subordinate ids, in their order.
func Ranges(callerUID, callerGID int, uids, gids []Range) Map {
	return Map{UIDs: stack(callerUID, uids), GIDs: stack(callerGID, gids)}
}

func stack(caller int, ranges []Range) []specs.LinuxIDMapping {
	list := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(caller), Size: 1}}
	next := uint32(1)
	for _, r := range ranges {
		list = append(list, specs.LinuxIDMapping{ContainerID: next, HostID: r.First, Size: r.Count})
		next += r.Count
	}
	return list
}

// KeepID is the map in which the caller is seen as uid and gid, and the
// subordinate ids fill the numbers around it from 0. Without ranges it is a
// map of one id.
func KeepID(callerUID, callerGID, uid, gid int, uids, gids []Range) Map {
	return Map{UIDs: around(callerUID, uint32(uid), uids), GIDs: around(callerGID, uint32(gid), gids)}
}

func around(caller int, id uint32, ranges []Range) []specs.LinuxIDMapping {
	var list []specs.LinuxIDMapping
	next, placed := uint32(0), false
	place := func() {
		list = append(list, specs.LinuxIDMapping{ContainerID: id, HostID: uint32(caller), Size: 1})
		next, placed = id+1, true
	}
	for _, r := range ranges {
		if !placed && next == id {
			place()
		}
		if !placed && next+r.Count > id {
			below := id - next
			list = append(list, specs.LinuxIDMapping{ContainerID: next, HostID: r.First, Size: below})
			place()
			r = Range{First: r.First + below, Count: r.Count - below}
		}
		list = append(list, specs.LinuxIDMapping{ContainerID: next, HostID: r.First, Size: r.Count})
		next += r.Count
	}
	if !placed {
		place()
	}
	return list
}

// Inside translates an id of the parent namespace, if it is mapped.
func Inside(list []specs.LinuxIDMapping, outside uint32) (uint32, bool) {
	for _, m := range list {
		if outside >= m.HostID && outside-m.HostID < m.Size {
			return m.ContainerID + outside - m.HostID, true
		}
	}
	return 0, false
}

// Mapped reports whether an id of the new namespace exists.
func Mapped(list []specs.LinuxIDMapping, inside uint32) bool {
	for _, m := range list {
		if inside >= m.ContainerID && inside-m.ContainerID < m.Size {
			return true
		}
	}
	return false
}

// Text is the form that /proc/PID/uid_map takes.
func Text(list []specs.LinuxIDMapping) string {
	var b strings.Builder
	for _, m := range list {
		fmt.Fprintf(&b, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return b.String()
}
