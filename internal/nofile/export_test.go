package nofile

// For the comparison with package unix.
const (
	Number   = sysPrlimit64
	Resource = rlimitNofile
)
