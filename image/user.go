package image

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Limits on the files that LookupUser reads. An image may hold anything.
const (
	maxPasswd     = 4 << 20
	maxPasswdLine = 64 << 10
	maxGroups     = 65536 // NGROUPS_MAX
)

// User is a user of an image.
type User struct {
	UID, GID uint32
	// Additional are the supplementary groups.
	Additional []uint32
	Home       string // "/" if the image does not tell
}

// LookupUser finds what a user string in the notation of docker means:
// "", user, uid, user:group, uid:gid and the mixed forms. What consists of
// digits is an id, also if a user has that name; the empty string is uid 0.
// The supplementary groups are those of the image, unless a group is given.
//
// open opens a file of the image below its root; [Image.Open] does. It must
// follow symbolic links within the image only, and must not block on a fifo.
// Files that are not regular or larger than 4 MiB are refused.
func LookupUser(open func(path string) (*os.File, error), user string) (User, error) {
	name, group, hasGroup := strings.Cut(user, ":")
	if user == "" {
		name = "0"
	}
	if name == "" || hasGroup && group == "" {
		return User{}, fmt.Errorf("user %q: want user or user:group", user)
	}
	u := User{Home: "/"}
	login, err := u.findUser(open, name)
	if err != nil {
		return User{}, fmt.Errorf("user %q: %w", user, err)
	}
	if !hasGroup && login == "" {
		return u, nil
	}
	if err := u.findGroups(open, login, group); err != nil {
		return User{}, fmt.Errorf("user %q: %w", user, err)
	}
	return u, nil
}

// findUser fills in what passwd says of a name or uid, and returns the name
// that group lists it by.
func (u *User) findUser(open func(string) (*os.File, error), name string) (string, error) {
	id, isID, err := parseID(name)
	if err != nil {
		return "", err
	}
	u.UID = id
	login, found := "", false
	err = eachLine(open, "/etc/passwd", func(f []string) (bool, error) {
		if len(f) < 4 || (isID && f[2] != strconv.FormatUint(uint64(id), 10)) || (!isID && f[0] != name) {
			return true, nil
		}
		uid, ok, err := parseID(f[2])
		gid, gok, gerr := parseID(f[3])
		if err := errors.Join(err, gerr); err != nil || !ok || !gok {
			return false, fmt.Errorf("entry with ids %q and %q", f[2], f[3])
		}
		u.UID, u.GID, login, found = uid, gid, f[0], true
		if len(f) > 5 && strings.HasPrefix(f[5], "/") && !strings.ContainsRune(f[5], 0) {
			u.Home = f[5]
		}
		return false, nil
	})
	if isID && errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && !found && !isID {
		err = errors.New("not in /etc/passwd of the image")
	}
	return login, err
}

// findGroups resolves the group, or collects the groups of a login.
func (u *User) findGroups(open func(string) (*os.File, error), login, group string) error {
	if group != "" {
		id, isID, err := parseID(group)
		if isID || err != nil {
			u.GID = id
			return err
		}
	}
	found := false
	err := eachLine(open, "/etc/group", func(f []string) (bool, error) {
		if len(f) < 3 {
			return true, nil
		}
		wanted := group != "" && f[0] == group
		member := group == "" && len(f) > 3 && slices.Contains(strings.Split(f[3], ","), login)
		if !wanted && !member {
			return true, nil
		}
		gid, ok, err := parseID(f[2])
		if err != nil || !ok {
			return false, fmt.Errorf("group %q with id %q", f[0], f[2])
		}
		if wanted {
			u.GID, found = gid, true
			return false, nil
		}
		if gid != u.GID && !slices.Contains(u.Additional, gid) {
			u.Additional = append(u.Additional, gid)
		}
		if len(u.Additional) > maxGroups {
			return false, fmt.Errorf("more than %d groups", maxGroups)
		}
		return true, nil
	})
	switch {
	case group == "" && errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && group != "" && !found:
		return fmt.Errorf("group %q is not in /etc/group of the image", group)
	}
	slices.Sort(u.Additional)
	return err
}

// parseID reads a string of digits as an id. (uid_t)-1 is none: chown(2) and
// setresuid(2) take it for "leave as it is".
func parseID(s string) (id uint32, ok bool, err error) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 1<<32-1 {
		return 0, true, fmt.Errorf("id %.20s: out of range", s)
	}
	return uint32(n), true, nil
}

// eachLine calls use with the fields of each line of a file in the format of
// passwd(5), until it returns false.
func eachLine(open func(string) (*os.File, error), path string, use func([]string) (bool, error)) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if info.Size() > maxPasswd {
		return fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), maxPasswd)
	}
	lines := bufio.NewScanner(io.LimitReader(f, maxPasswd))
	lines.Buffer(make([]byte, 0, 4096), maxPasswdLine)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		more, err := use(strings.Split(string(line), ":"))
		if err != nil || !more {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
