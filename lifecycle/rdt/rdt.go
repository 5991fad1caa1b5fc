// Package rdt puts containers into classes of Intel's Resource Director
// Technology, as linux.intelRdt has it: parts of the L3 cache and of the memory
// bandwidth.
//
// A class is a directory of the resctrl filesystem; what it may use is a file
// in it, and a process belongs to it once its id is written to another
// (Documentation/filesystems/resctrl.rst of the kernel). The filesystem belongs
// to the host's root. Any directory will do in its place: tests have one.
//
// A class that was there before is never changed nor removed.
package rdt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// FS is a mounted resctrl filesystem.
type FS struct {
	Dir string

	made func(dir string) // what a kernel does for a new directory; of tests
}

// Find is where resctrl is mounted.
func Find() (FS, error) {
	list, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("resctrl"))
	if err != nil {
		return FS{}, err
	}
	if len(list) == 0 {
		return FS{}, errors.New("linux.intelRdt: the resctrl filesystem is not mounted, or this machine has none")
	}
	return FS{Dir: list[0].Mountpoint}, nil
}

// Check finds what is wrong with a configuration.
func Check(c *specs.LinuxIntelRdt) error {
	id := c.ClosID
	if id == "." || id == ".." || strings.ContainsAny(id, "/\x00") || slices.Contains(reserved, id) {
		return fmt.Errorf("linux.intelRdt.closID %q is not the name of a directory", id)
	}
	if len(c.Schemata) > 0 && (c.L3CacheSchema != "" || c.MemBwSchema != "") {
		return errors.New("linux.intelRdt: schemata goes without l3CacheSchema and memBwSchema")
	}
	for _, line := range lines(c) {
		if strings.ContainsAny(line, "\n\x00") || !strings.Contains(line, ":") {
			return fmt.Errorf("linux.intelRdt: %q is not a line of a schemata file", line)
		}
	}
	return nil
}

// reserved are directories of resctrl that are no classes.
var reserved = []string{"info", "mon_groups", "mon_data"}

// lines are what the schemata file is to take.
func lines(c *specs.LinuxIntelRdt) []string {
	if len(c.Schemata) > 0 {
		return c.Schemata
	}
	var list []string
	for _, s := range []string{c.L3CacheSchema, c.MemBwSchema} {
		if s != "" {
			list = append(list, s)
		}
	}
	return list
}

// Group is what a container has of resctrl: directories that were made for it,
// the outer one first.
type Group struct {
	Made []string `json:"made,omitempty"`

	made func(dir string)
}

// Enter puts a process into the class of its container, which is made where it
// is missing. When it fails, nothing is left.
func (f FS) Enter(container string, pid int, c *specs.LinuxIntelRdt) (_ *Group, err error) {
	if err := Check(c); err != nil {
		return nil, err
	}
	g := &Group{made: f.made}
	defer func() {
		if err != nil {
			err = fmt.Errorf("linux.intelRdt: %w", errors.Join(err, g.Remove()))
		}
	}()
	class := filepath.Join(f.Dir, container)
	if c.ClosID != "" {
		class = filepath.Join(f.Dir, c.ClosID)
	}
	if err := g.class(class, c); err != nil {
		return nil, err
	}
	if err := write(class, "tasks", strconv.Itoa(pid)); err != nil {
		return nil, err
	}
	if !c.EnableMonitoring {
		return g, nil
	}
	monitor := filepath.Join(class, "mon_groups", container)
	if err := g.make(monitor); err != nil {
		return nil, err
	}
	return g, write(monitor, "tasks", strconv.Itoa(pid))
}

// class finds or makes the class. One that is there has to be what is asked
// for, and one that is only named has to be there.
func (g *Group) class(dir string, c *specs.LinuxIntelRdt) error {
	want := lines(c)
	err := g.make(dir)
	if errors.Is(err, fs.ErrExist) {
		if len(want) == 0 {
			return nil
		}
		return agrees(dir, want)
	}
	if err != nil {
		return err
	}
	if c.ClosID != "" && len(want) == 0 {
		return fmt.Errorf("closID %q: there is no such class, and no schema to make it", c.ClosID)
	}
	if len(want) == 0 {
		return nil
	}
	return write(dir, "schemata", strings.Join(want, "\n")+"\n")
}

func (g *Group) make(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		g.Made = append(g.Made, dir)
		if g.made != nil {
			g.made(dir)
		}
	}
	return err
}

// Remove removes what was made for the container. The kernel gives its
// processes to the class above.
func (g *Group) Remove() error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, dir := range slices.Backward(g.Made) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// agrees compares lines with a class that is there. The kernel prints them
// padded, and with its own zeros.
func agrees(dir string, want []string) error {
	text, err := os.ReadFile(filepath.Join(dir, "schemata"))
	if err != nil {
		return err
	}
	have := map[string]string{}
	for line := range bytes.Lines(text) {
		kind, value := parse(string(line))
		have[kind] = value
	}
	for _, line := range want {
		kind, value := parse(line)
		if have[kind] != value {
			return fmt.Errorf("class %s has %s:%s, and is not changed to %s", filepath.Base(dir), kind, have[kind], strings.TrimSpace(line))
		}
	}
	return nil
}

// parse splits a line into its resource and its values in one form.
func parse(line string) (kind, values string) {
	kind, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
	var list []string
	for part := range strings.SplitSeq(rest, ";") {
		id, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		list = append(list, trim(id)+"="+strings.ToLower(trim(value)))
	}
	slices.Sort(list)
	return strings.TrimSpace(kind), strings.Join(list, ";")
}

func trim(number string) string {
	short := strings.TrimLeft(strings.TrimSpace(number), "0")
	if short == "" {
		return "0"
	}
	return short
}

// write writes to a file of resctrl in one call. The kernel's errors are
// explained in a file of its own.
func write(dir, name, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err == nil {
		return nil
	}
	why, readErr := os.ReadFile(filepath.Join(filepath.Dir(dir), "info", "last_cmd_status"))
	if said := strings.TrimSpace(string(why)); readErr == nil && said != "" && said != "ok" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}
