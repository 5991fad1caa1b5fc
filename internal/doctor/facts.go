package doctor

import (
	"syscall"
)

// Try is the result of something that was tried.
type Try struct {
	Done  bool          // it was tried
	Step  string        // the step that was refused, if it has several
	Errno syscall.Errno // 0 when it worked
}

// OK reports whether it was tried and worked.
func (t Try) OK() bool { return t.Done && t.Errno == 0 }

// Facts is what [Gather] found out about the host and the caller.
type Facts struct {
	Caller Caller
	Host   Host
	Maps   Maps
	Store  Store
	Cgroup Cgroup
	// Tries are named by the Try constants. What is not in it was not tried.
	Tries map[string]Try
}

// Names of what is tried.
const (
	TryUserNS       = "userns"        // a user namespace with one id
	TryAllNS        = "namespaces"    // it and all others in one clone
	TryHelpers      = "helpers"       // newuidmap and newgidmap write our ranges
	TryOverlay      = "overlay"       // kernel overlay with userxattr on the store's file system
	TryProc         = "proc"          // a new proc in a new pid namespace
	TryProcSubset   = "proc-subset"   // the same with subset=pid
	TryFUSE         = "fuse"          // open /dev/fuse and mount it
	TryTUN          = "tun"           // open /dev/net/tun and make a device
	TryPacket       = "packet"        // an AF_PACKET socket, the way without TUN
	TryNotify       = "seccomp"       // seccomp filters with a listener
	TryMemfd        = "memfd"         // an executable memfd
	TryOpenat2      = "openat2"       // openat2(2)
	TryMountSetattr = "mount_setattr" // mount_setattr(2), recursive
	TryTimeNS       = "timens"        // a time namespace
	TryKeyring      = "keyring"       // a session keyring of its own
)

// Caller is who asks.
type Caller struct {
	UID, GID   int
	Login      string // from /etc/passwd, may be empty
	Exe        string // path of this program
	RuntimeDir string // $XDG_RUNTIME_DIR
	RuntimeErr string // why the runtime directory cannot be used
	// IDs counts the ids of our own user namespace; the initial one has all 2^32-1.
	IDs        uint64
	Seccomp    bool // a filter is in force already
	NoNewPrivs bool // setuid programs have no effect
}

const allIDs = 1<<32 - 1

func (c Caller) hostRoot() bool { return c.UID == 0 && c.IDs >= allIDs }

// Host is what the kernel says of itself.
type Host struct {
	Release, Machine string
	// Knobs of sysctl(8); a missing one is not in the map.
	Knobs map[string]int
	// Refused are the namespaces that cannot be made one by one, where all at
	// once could not be.
	Refused map[string]syscall.Errno
	// AppArmor is our profile, or empty where AppArmor is off.
	AppArmor string
	Devices  map[string]bool // whether the device node is there at all
	Systemd  bool            // systemd started this host, sd_booted(3)
}

// Knobs that explain a refusal.
const (
	knobDebian   = "kernel.unprivileged_userns_clone"
	knobAppArmor = "kernel.apparmor_restrict_unprivileged_userns"
	knobMaxUser  = "user.max_user_namespaces"
	knobMemfd    = "vm.memfd_noexec"
)

const (
	devFUSE = "/dev/fuse"
	devTUN  = "/dev/net/tun"
)

// Maps is what the caller may map besides its own id.
type Maps struct {
	SubUIDs, SubGIDs uint64 // how many subordinate ids
	Err              string // what is wrong with the files
	Free             uint64 // the first id above all ranges of all users
	// NewUIDMap and NewGIDMap are paths, empty if not installed.
	NewUIDMap, NewGIDMap string
	Unprivileged         []string // helpers that are neither setuid root nor have file capabilities
	Said                 string   // what the helpers complained of
}

// Store is where images and containers would be kept.
type Store struct {
	Dir string // the nearest directory that exists
	FS  string // its file system
	Err string // why nothing can be written there
}

// Cgroup is the part of the cgroup tree that is ours.
type Cgroup struct {
	Layout      string // v2, hybrid, v1 or none
	Dir         string // our own cgroup, in the file system
	Writable    bool
	Systemd     string   // socket of the user's systemd that answers, or empty
	Controllers []string // in the writable cgroup, or in the one systemd manages
}
