package userns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// MapBy says who writes the id maps.
type MapBy string

// Ways to write id maps; see the package's comment.
const (
	MapNone    MapBy = "none" // there is no new user namespace
	MapSelf    MapBy = "self"
	MapHelpers MapBy = "helpers"
	MapDirect  MapBy = "direct"
)

// By is how the caller's maps are written.
func (m Map) By(uid, gid int, privileged bool) MapBy {
	switch {
	case privileged:
		return MapDirect
	case m.IsOne(uid, gid):
		return MapSelf
	}
	return MapHelpers
}

// Write writes the maps of a process that waits in a new user namespace, if
// that is the parent's part.
func (m Map) Write(by MapBy, pid int) error {
	switch by {
	case MapDirect:
		return WriteDirect(pid, m)
	case MapHelpers:
		h, err := FindHelpers()
		if err != nil {
			return err
		}
		return h.Write(pid, m)
	}
	return nil
}

// ErrNoHelpers is returned where newuidmap and newgidmap are not installed.
var ErrNoHelpers = errors.New("newuidmap and newgidmap are not installed (package uidmap)")

// WriteDirect writes both maps of a process that waits in a new user
// namespace. The caller has CAP_SETUID and CAP_SETGID over the ids it maps.
func WriteDirect(pid int, m Map) error {
	return errors.Join(
		writeMap(pid, "uid_map", m.UIDs),
		writeMap(pid, "gid_map", m.GIDs),
	)
}

func writeMap(pid int, name string, list []specs.LinuxIDMapping) error {
	f, err := os.OpenFile("/proc/"+strconv.Itoa(pid)+"/"+name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	// The kernel takes a map in a single write.
	_, err = f.WriteString(Text(list))
	return errors.Join(err, f.Close())
}

// Helpers is the pair of setuid programs, found once.
type Helpers struct {
	newuidmap, newgidmap string
}

// FindHelpers looks for newuidmap and newgidmap in PATH and the usual folders.
func FindHelpers() (Helpers, error) {
	u, err1 := lookPath("newuidmap")
	g, err2 := lookPath("newgidmap")
	if err1 != nil || err2 != nil {
		return Helpers{}, ErrNoHelpers
	}
	return Helpers{u, g}, nil
}

func lookPath(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/bin/" + name)
}

// Write runs both programs at once for a process that waits in a new user
// namespace; each costs about a millisecond.
func (h Helpers) Write(pid int, m Map) error {
	gids := start(h.newgidmap, pid, m.GIDs)
	uids := start(h.newuidmap, pid, m.UIDs)
	return errors.Join(uids(), gids())
}

func start(program string, pid int, list []specs.LinuxIDMapping) (wait func() error) {
	args := append([]string{strconv.Itoa(pid)}, strings.Fields(Text(list))...)
	cmd := exec.Command(program, args...)
	var out bytes.Buffer
	cmd.Stderr = &out
	err := cmd.Start()
	return func() error {
		if err == nil {
			err = cmd.Wait()
		}
		if err == nil {
			return nil
		}
		if text := strings.TrimSpace(out.String()); text != "" {
			return errors.New(text)
		}
		return fmt.Errorf("%s: %w", program, err)
	}
}
