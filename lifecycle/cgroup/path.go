package cgroup

import (
	"fmt"
	"path"
	"strings"
)

// cleanPath makes a cgroupsPath absolute in its hierarchy and refuses what is
// hostile: a component "..", even where it would stay inside, and characters
// that no cgroup may have.
func cleanPath(name string) (string, error) {
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return "", fmt.Errorf("%w %q: it leads upwards", ErrPath, name)
		case strings.ContainsAny(part, "\x00\n"):
			return "", fmt.Errorf("%w %q: control characters", ErrPath, name)
		case len(part) > 255:
			return "", fmt.Errorf("%w: a name of %d bytes", ErrPath, len(part))
		case strings.HasPrefix(part, "cgroup."):
			return "", fmt.Errorf("%w %q: %q is a name of the kernel's", ErrPath, name, part)
		}
	}
	if len(name) >= 4096 {
		return "", fmt.Errorf("%w of %d bytes", ErrPath, len(name))
	}
	clean := path.Clean("/" + name)
	if clean == "/" {
		return "", fmt.Errorf("%w %q: it is the root", ErrPath, name)
	}
	return clean, nil
}

// scopePath is a cgroupsPath of engines that use systemd, slice:prefix:name.
type scopePath struct{ slice, unit string }

// parseScope reads slice:prefix:name. A name that ends in .slice is a unit of
// its own in runc; nobody sends it, and it is refused.
func parseScope(name string) (scopePath, error) {
	part := strings.Split(name, ":")
	if len(part) != 3 {
		return scopePath{}, fmt.Errorf("%w %q: systemd needs slice:prefix:name", ErrPath, name)
	}
	slice, unit := part[0], part[2]+".scope"
	if part[1] != "" {
		unit = part[1] + "-" + unit
	}
	if part[2] == "" || strings.HasSuffix(part[2], ".slice") || !unitName(unit) {
		return scopePath{}, fmt.Errorf("%w %q: no scope can be called %q", ErrPath, name, unit)
	}
	if slice != "" && !sliceName(slice) {
		return scopePath{}, fmt.Errorf("%w %q: no slice can be called %q", ErrPath, name, slice)
	}
	return scopePath{slice, unit}, nil
}

// looksLikeScope tells the two kinds of cgroupsPath apart.
func looksLikeScope(name string) bool {
	return strings.Count(name, ":") == 2 && !strings.Contains(name, "/")
}

// unitChars are the characters of a unit's name, systemd.unit(5), without the
// backslash that escapes others and the @ of templates.
const unitChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_."

func unitName(name string) bool {
	return len(name) < 256 && strings.Trim(name, unitChars) == "" && !strings.HasPrefix(name, ".")
}

// sliceName tells whether a name is a slice's: a-b.slice lies in a.slice, so
// that no part between dashes may be empty. "-.slice" is the root.
func sliceName(name string) bool {
	stem, ok := strings.CutSuffix(name, ".slice")
	if !ok || !unitName(name) {
		return false
	}
	return stem == "-" || stem != "" && !strings.HasPrefix(stem, "-") &&
		!strings.HasSuffix(stem, "-") && !strings.Contains(stem, "--")
}

// unitSafe replaces what a unit's name cannot hold.
func unitSafe(id string) string {
	return strings.Map(func(r rune) rune {
		if r > 127 || !strings.ContainsRune(unitChars, r) {
			return '_'
		}
		return r
	}, id)
}
