// Package landlock reads the rules of Landlock (landlock(7)) that an annotation
// of a container has, and says which of them a kernel enforces.
//
// Landlock is a security module that a process restricts itself by, and all
// that it starts, without privilege: which files below which directories, which
// TCP ports, and which processes and sockets of others it may use. Neither the
// runtime-spec nor the configuration of engines has it; annotations are what
// reaches a runtime through both.
//
// Degradation is a pure function: what is wanted and the kernel's version of
// the interface give what is enforced, and what is not. So it can be tested on
// any kernel.
//
// Not done here: the system calls. They are in the container's plan.
package landlock

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"airplant/internal/lookup"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// Annotation is the key of the rules.
const Annotation = "org.airplant.landlock"

// Rules is the annotation's value.
type Rules struct {
	// Mode is "best-effort", the default: what the kernel does not have is not
	// enforced, and said; or "required": it is an error.
	Mode string `json:"mode,omitzero"`
	// FS allows what nothing else does, once it is there, even empty.
	FS []PathRule `json:"fs"`
	// Bind and Connect are TCP ports, the only ones once they are there.
	Bind    []uint16 `json:"bind"`
	Connect []uint16 `json:"connect"`
	// Scope lists what is kept inside the container's processes:
	// "abstract-unix-socket" and "signal".
	Scope []string `json:"scope,omitzero"`
}

// PathRule allows access to what is below some paths.
type PathRule struct {
	Paths  []string `json:"paths"`
	Access string   `json:"access"` // letters, see accesses
}

// Rights of the kernel's interface, by letter.
var accesses = lookup.Table[rune, uint64]{
	{'r', unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR},
	{'x', unix.LANDLOCK_ACCESS_FS_EXECUTE},
	{'w', unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REFER |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM},
	{'d', unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
}

// fileAccess are the rights that a rule for a file may have.
const fileAccess = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
	unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV

var scopes = lookup.Table[string, uint64]{
	{"abstract-unix-socket", unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET},
	{"signal", unix.LANDLOCK_SCOPE_SIGNAL},
}

// Parse reads the annotation, which must have nothing that is not known: what
// is misspelt would not be enforced.
func Parse(text string) (*Rules, error) {
	r := &Rules{}
	if err := json.Unmarshal([]byte(text), r, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", Annotation, err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", Annotation, err)
	}
	return r, nil
}

func (r *Rules) check() error {
	if r.Mode != "" && r.Mode != "best-effort" && r.Mode != "required" {
		return fmt.Errorf("mode %q is neither best-effort nor required", r.Mode)
	}
	for _, rule := range r.FS {
		if len(rule.Paths) == 0 || rule.Access == "" {
			return errors.New("a rule of fs needs paths and access")
		}
		for _, p := range rule.Paths {
			if !path.IsAbs(p) || strings.Contains(p, "\x00") {
				return fmt.Errorf("path %q is not absolute", p)
			}
		}
		for _, letter := range rule.Access {
			if !accesses.Has(letter) {
				return fmt.Errorf("access %q: %q is none of r, w, x and d", rule.Access, letter)
			}
		}
	}
	for _, s := range r.Scope {
		if !scopes.Has(s) {
			return fmt.Errorf("scope %q is neither abstract-unix-socket nor signal", s)
		}
	}
	if r.FS == nil && r.Bind == nil && r.Connect == nil && len(r.Scope) == 0 {
		return errors.New("there are no rules")
	}
	return nil
}

// Required reports whether all has to be enforced.
func (r *Rules) Required() bool { return r.Mode == "required" }
