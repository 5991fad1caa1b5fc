package userns

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Range is a run of subordinate ids.
type Range struct {
	First, Count uint32
}

// readSubids reads the ranges that a file in the form of subuid(5) gives to a
// user, who may be named by login or by number.
func readSubids(file, login string, uid int) ([]Range, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	list, err := parseSubids(f, login, strconv.Itoa(uid))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return list, nil
}

// parseSubids skips lines that newuidmap would not accept either.
func parseSubids(r io.Reader, login, uid string) ([]Range, error) {
	var list []Range
	s := bufio.NewScanner(r)
	for s.Scan() {
		field := strings.Split(strings.TrimSpace(s.Text()), ":")
		if len(field) != 3 || field[0] == "" || (field[0] != login && field[0] != uid) {
			continue
		}
		first, err1 := strconv.ParseUint(field[1], 10, 32)
		count, err2 := strconv.ParseUint(field[2], 10, 32)
		if err1 != nil || err2 != nil || count == 0 || first+count > 1<<32-1 {
			continue
		}
		list = append(list, Range{uint32(first), uint32(count)})
	}
	return list, s.Err()
}

// Own are the caller's subordinate ids, as /etc/subuid and /etc/subgid have
// them; both lists are empty where either is.
func Own(login string, uid int) (uids, gids []Range, err error) {
	uids, err = readSubids("/etc/subuid", login, uid)
	if err != nil {
		return nil, nil, err
	}
	gids, err = readSubids("/etc/subgid", login, uid)
	if err != nil || len(uids) == 0 || len(gids) == 0 {
		return nil, nil, err
	}
	return uids, gids, nil
}

// Login is the name that /etc/passwd has for uid, or "". It is read here
// without package os/user, whose lookups cost every command its package init.
func Login(uid int) string {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		return ""
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		field := strings.Split(s.Text(), ":")
		if len(field) > 2 && field[2] == strconv.Itoa(uid) {
			return field[0]
		}
	}
	return ""
}
