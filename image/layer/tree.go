package layer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

type kind uint8

const (
	implied   kind = iota // a directory that no entry describes
	described             // a directory with an entry of its own
	whiteout              // a character device 0:0
)

// node is what Finish must know of a directory or a whiteout. Every directory
// of the layer has one, so that a path made of nodes holds no symbolic link.
type node struct {
	kids         map[string]*node
	kind         kind
	opaque       bool
	needsLower   bool // set by mark
	mode         uint32
	atime, mtime unix.Timespec
}

func (n *node) isDir() bool { return n != nil && n.kind != whiteout }

// dir is an open directory of the layer.
type dir struct {
	fd
	node *node
	path string // without symbolic links, relative to the root; "" is the root
}

func (d *dir) join(name string) string {
	if d.path == "" {
		return name
	}
	return d.path + "/" + name
}

// tree is the directory that a layer is unpacked into.
type tree struct {
	root  fd
	top   *node
	nodes int
	// last is the parent of the previous entry: tars come sorted by
	// directory, so most entries need no look-up at all.
	last     *dir
	lastName string
}

func (t *tree) close() {
	t.forget()
	t.root.close()
}

// forget drops the cached directory, which an entry may have replaced.
func (t *tree) forget() {
	if t.last != nil {
		t.last.close()
		t.last = nil
	}
}

// dir returns the directory at path, following symbolic links of this layer
// within the root. The tree keeps it open until the next call. With create,
// missing directories are made; otherwise a missing one is unix.ENOENT.
func (t *tree) dir(path string, create bool) (*dir, error) {
	if t.last != nil && t.lastName == path {
		return t.last, nil
	}
	n, real := t.top, splitPath(path)
	for _, c := range real {
		if n = n.kids[c]; !n.isDir() {
			break
		}
	}
	if !n.isDir() || slices.Contains(real, "..") {
		var err error
		if n, real, err = t.walk(real, create); err != nil {
			return nil, err
		}
	}
	p := strings.Join(real, "/")
	f, err := t.root.openDir(p)
	if err != nil {
		return nil, fmt.Errorf("open directory %q: %w", p, err)
	}
	t.forget()
	t.last, t.lastName = &dir{fd: f, node: n, path: p}, path
	return t.last, nil
}

// walk resolves a path component by component.
func (t *tree) walk(todo []string, create bool) (*node, []string, error) {
	var done []string
	n, links := t.top, 0
	for len(todo) > 0 {
		c := todo[0]
		todo = todo[1:]
		switch {
		case c == ".":
			continue
		case c == "..":
			done = done[:max(len(done)-1, 0)]
			n = t.find(done)
			continue
		case n.kids[c].isDir():
			n, done = n.kids[c], append(done, c)
			continue
		}
		target, err := t.missing(n, done, c, create)
		if err != nil {
			return nil, nil, err
		}
		if target == "" {
			n, done = n.kids[c], append(done, c)
			continue
		}
		if links++; links > maxLinks {
			return nil, nil, fmt.Errorf("%q: %w", strings.Join(append(done, c), "/"), unix.ELOOP)
		}
		if strings.HasPrefix(target, "/") {
			done, n = nil, t.top
		}
		todo = append(splitPath(target), todo...)
	}
	return n, done, nil
}

func (t *tree) find(path []string) *node {
	n := t.top
	for _, c := range path {
		n = n.kids[c]
	}
	return n
}

// missing handles a component that is no directory of the layer yet: it
// returns the target of a symbolic link, or makes the directory and returns "".
func (t *tree) missing(n *node, done []string, c string, create bool) (string, error) {
	parent, err := t.root.openDir(strings.Join(done, "/"))
	if err != nil {
		return "", err
	}
	defer parent.close()
	full := strings.Join(append(slices.Clone(done), c), "/")
	st, err := parent.lstat(c)
	switch {
	case errors.Is(err, unix.ENOENT):
	case err != nil:
		return "", fmt.Errorf("stat %q: %w", full, err)
	case st.Mode&unix.S_IFMT == unix.S_IFLNK:
		return parent.readlink(c)
	case !isWhiteout(&st):
		return "", invalidf("parent %q is not a directory", full)
	}
	if !create {
		return "", unix.ENOENT
	}
	opaque := err == nil
	if opaque {
		if err := unix.Unlinkat(int(parent), c, 0); err != nil {
			return "", err
		}
		t.drop(n, c)
	}
	if len(done) >= MaxDepth {
		return "", fmt.Errorf("%w: %q is more than %d directories deep", ErrLimit, full, MaxDepth)
	}
	if err := unix.Mkdirat(int(parent), c, 0o700); err != nil {
		return "", fmt.Errorf("create directory %q: %w", full, err)
	}
	k, err := t.add(n, c, implied)
	if err != nil {
		return "", err
	}
	k.opaque = opaque
	return "", nil
}

// add makes a node, within the limit.
func (t *tree) add(parent *node, name string, k kind) (*node, error) {
	if t.nodes++; t.nodes > MaxNodes {
		return nil, fmt.Errorf("%w: more than %d directories and whiteouts", ErrLimit, MaxNodes)
	}
	if parent.kids == nil {
		parent.kids = map[string]*node{}
	}
	n := &node{kind: k}
	parent.kids[name] = n
	return n, nil
}

// drop forgets a node and all below it. The count stays: it bounds work too.
func (t *tree) drop(parent *node, name string) { delete(parent.kids, name) }

// clear removes what stands at name, so that an entry can take its place.
func (t *tree) clear(d *dir, name string) error {
	t.drop(d.node, name)
	t.lastName = d.path // it may have been reached through what goes away
	if err := d.removeAll(name); err != nil {
		return fmt.Errorf("replace %q: %w", d.join(name), err)
	}
	return nil
}
