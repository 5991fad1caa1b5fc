package landlock

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Ruleset is what a kernel enforces, in the terms of its interface.
type Ruleset struct {
	FS, Net, Scoped uint64 // what is denied but for the rules
	Paths           []Beneath
	Ports           []Port
	abi             int
}

// Beneath allows rights below a path.
type Beneath struct {
	Path string
	Dir  uint64 // rights, if it is a directory
	File uint64 // if it is not; 0: no rule
}

// Port allows rights on a TCP port.
type Port struct {
	Port   uint16
	Access uint64
}

// The versions of the interface, and the Linux that has them.
const (
	abiFS       = 1 // 5.13
	abiRefer    = 2 // 5.19
	abiTruncate = 3 // 6.2
	abiTCP      = 4 // 6.7
	abiIoctl    = 5 // 6.10
	abiScope    = 6 // 6.12
)

// Enforce says what a kernel with the given version of the interface enforces
// of what is wanted, and what it does not. A version of 0 is a kernel without.
func Enforce(r *Rules, abi int) (Ruleset, []string) {
	set, missing := Ruleset{abi: abi}, []string{}
	miss := func(what string) { missing = append(missing, what) }
	if r.FS != nil {
		set.FS = files(abi)
		switch {
		case abi < abiFS:
			miss("access to files, which takes Linux 5.13")
		case abi < abiTruncate:
			miss("truncating files, which takes Linux 6.2")
		}
		if abi >= abiFS && abi < abiIoctl {
			miss("control of devices, which takes Linux 6.10")
		}
		set.paths(r)
	}
	if r.Bind != nil || r.Connect != nil {
		if abi < abiTCP {
			miss("TCP ports, which takes Linux 6.7")
		} else {
			set.ports(unix.LANDLOCK_ACCESS_NET_BIND_TCP, r.Bind)
			set.ports(unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, r.Connect)
		}
	}
	for _, s := range r.Scope {
		if abi < abiScope {
			miss("the scope " + s + ", which takes Linux 6.12")
		} else {
			set.Scoped |= scopes.Get(s)
		}
	}
	return set, missing
}

// files are the rights over files that a version knows. Without the one to link
// and rename between directories, that is never allowed.
func files(abi int) uint64 {
	var all uint64
	if abi >= abiFS {
		all = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1
	}
	for version, right := range map[int]uint64{
		abiRefer: unix.LANDLOCK_ACCESS_FS_REFER, abiTruncate: unix.LANDLOCK_ACCESS_FS_TRUNCATE, abiIoctl: unix.LANDLOCK_ACCESS_FS_IOCTL_DEV,
	} {
		if abi >= version {
			all |= right
		}
	}
	return all
}

func (s *Ruleset) paths(r *Rules) {
	for _, rule := range r.FS {
		var access uint64
		for _, letter := range rule.Access {
			access |= accesses.Get(letter) & s.FS
		}
		for _, p := range rule.Paths {
			if access != 0 {
				s.Paths = append(s.Paths, Beneath{Path: p, Dir: access, File: access & fileAccess})
			}
		}
	}
}

func (s *Ruleset) ports(access uint64, list []uint16) {
	if list == nil {
		return
	}
	s.Net |= access
	for _, p := range list {
		s.Ports = append(s.Ports, Port{p, access})
	}
}

// Empty reports whether nothing is enforced.
func (s *Ruleset) Empty() bool { return s.FS|s.Net|s.Scoped == 0 }

// Attr is struct landlock_ruleset_attr, as long as the kernel knows it.
func (s *Ruleset) Attr() []byte {
	b := binary.NativeEndian.AppendUint64(nil, s.FS)
	if s.abi >= abiTCP {
		b = binary.NativeEndian.AppendUint64(b, s.Net)
	}
	if s.abi >= abiScope {
		b = binary.NativeEndian.AppendUint64(b, s.Scoped)
	}
	return b
}
