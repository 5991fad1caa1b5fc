package criu

// Kind is what is asked of CRIU; the numbers are those of its interface
// (images/rpc.proto in its sources).
type Kind int

// What can be asked.
const (
	Dump    Kind = 1
	Restore Kind = 2
	PreDump Kind = 4

	notify Kind = 6
)

func (k Kind) String() string {
	switch k {
	case Dump:
		return "dump"
	case Restore:
		return "restore"
	case PreDump:
		return "pre-dump"
	}
	return "notification"
}

// Modes of what happens to cgroups.
const (
	CgroupIgnore = 0
	CgroupSoft   = 3
	CgroupFull   = 4
	CgroupStrict = 5
)

// Pair is a name and what it stands for.
type Pair struct{ Key, Value string }

// Inherited is a descriptor that takes the place of one in the images.
type Inherited struct {
	Key string
	FD  int
}

// Options of a request. Folders are descriptors of ours, since CRIU opens them
// by our pid; those to inherit are numbers in CRIU's process.
type Options struct {
	Images, Work     int // Work 0 is none
	PID              int
	LeaveRunning     bool
	ExternalSockets  bool
	TCPEstablished   bool
	EvasiveDevices   bool
	ShellJob         bool
	FileLocks        bool
	LogFile          string
	PageServer       string
	PageServerPort   int
	Root             string
	Parent           string
	AutoDedup        bool
	ManageCgroups    int // a mode
	External         []string
	Mounts           []Pair // external mounts
	Inherit          []Inherited
	EmptyNamespaces  int // CLONE_NEW…
	FreezeCgroup     string
	LazyPages        bool
	LSMProfile       string
	LSMMountContext  string
	Sibling          bool   // the restored process is a child of ours
	CgroupRoots      []Pair // controller and path
	OrphanPTSMasters bool
	ConfigFile       string
}

// encode writes the message criu_opts.
func (o *Options) encode() []byte {
	const logLevel = 4
	var m message
	m.varint(1, uint64(o.Images)) // required
	m.number(2, o.PID)
	m.flag(3, o.LeaveRunning)
	m.flag(4, o.ExternalSockets)
	m.flag(5, o.TCPEstablished)
	m.flag(6, o.EvasiveDevices)
	m.flag(7, o.ShellJob)
	m.flag(8, o.FileLocks)
	m.number(9, logLevel)
	m.text(10, o.LogFile)
	if o.PageServer != "" {
		var server message
		server.text(1, o.PageServer)
		server.number(2, o.PageServerPort)
		m.bytes(11, server)
	}
	m.flag(12, true) // notifications
	m.text(13, o.Root)
	m.text(14, o.Parent)
	m.flag(15, o.Parent != "") // the kernel tracks changes
	m.flag(16, o.AutoDedup)
	m.number(17, o.Work)
	for _, p := range o.Mounts {
		m.bytes(23, p.encode())
	}
	m.varint(34, uint64(o.ManageCgroups))
	m.flag(24, o.ManageCgroups != CgroupIgnore)
	for _, p := range o.CgroupRoots {
		m.bytes(25, p.encode())
	}
	m.flag(26, o.Sibling)
	for _, i := range o.Inherit {
		var fd message
		fd.text(1, i.Key)
		fd.varint(2, uint64(i.FD))
		m.bytes(27, fd)
	}
	for _, e := range o.External {
		m.text(37, e)
	}
	m.number(38, o.EmptyNamespaces)
	m.text(44, o.FreezeCgroup)
	m.flag(48, o.LazyPages)
	m.flag(50, o.OrphanPTSMasters)
	m.text(51, o.ConfigFile)
	m.text(53, o.LSMProfile)
	m.text(63, o.LSMMountContext)
	return m
}

func (p Pair) encode() []byte {
	var m message
	m.text(1, p.Key)
	m.text(2, p.Value)
	return m
}
