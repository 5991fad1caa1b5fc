// Package nofile remembers the limit of open files that this process was
// started with.
//
// Package syscall raises the soft limit when it is initialised, and a container
// must not inherit that: programs close, or loop over, every descriptor up to
// the limit. Packages are initialised in the order of their import paths as far
// as their dependencies allow, and this one has none, so it comes before
// syscall. That is also why it makes its one system call itself, by a number
// that its test compares with package unix. The test fails should a Go release
// change the order.
package nofile

var start = read()

func read() (l [2]uint64) {
	if prlimit(&l) != 0 {
		// It fails for a bad address or number only; this is the kernel's default.
		return [2]uint64{1024, 4096}
	}
	return l
}

// prlimit is prlimit64(0, RLIMIT_NOFILE, NULL, old); see prlimit_GOARCH.s.
//
//go:noescape
func prlimit(old *[2]uint64) (result int)

const rlimitNofile = 7

// AtStart returns the soft and the hard limit.
func AtStart() (soft, hard uint64) { return start[0], start[1] }
