package plan

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// session takes the process out of the caller's session, so that it cannot
// write to the caller's terminal as its own (TIOCSTI), and undoes what a Go
// process hands down: ignored signals. The signal mask stays full until the
// setup is over.
func (b *builder) session() error {
	b.do("start a session", birth.Setsid)
	if !b.opts.NoNewKeyring {
		// Where an outer seccomp filter refuses the call, the container
		// inherits the filter and cannot use the caller's keys either.
		b.do("join a new session keyring", birth.Keyctl, birth.Int(unix.KEYCTL_JOIN_SESSION_KEYRING), birth.Null()).
			Ignore(unix.ENOSYS, unix.EPERM)
	}
	for sig := 1; sig <= 64; sig++ {
		if b.host.Ignored&(1<<(sig-1)) != 0 {
			def := birth.Bytes("SIG_DFL", make([]byte, 32))
			b.do(fmt.Sprintf("reset the ignored signal %d", sig), birth.RtSigaction, birth.Int(sig), birth.Ptr(def), birth.Null(), birth.Int(8))
		}
	}
	return nil
}

// names sets the host name and the domain name.
func (b *builder) names() error {
	if n := b.spec.Hostname; n != "" {
		b.do("set the host name "+strconv.Quote(n), birth.Sethostname, birth.Str(n), birth.Int(len(n)))
	}
	if n := b.spec.Domainname; n != "" {
		b.do("set the domain name "+strconv.Quote(n), birth.Setdomainname, birth.Str(n), birth.Int(len(n)))
	}
	return nil
}

// loopback brings up lo in a new network namespace.
func (b *builder) loopback() error {
	if !b.created[specs.NetworkNamespace] {
		return nil
	}
	const label = "bring up the loopback interface"
	sock := birth.Cell("socket")
	ifreq := make([]byte, 40)
	copy(ifreq, "lo")
	binary.LittleEndian.PutUint16(ifreq[unix.IFNAMSIZ:], unix.IFF_UP|unix.IFF_RUNNING)
	b.do(label, birth.Socket, birth.Int(unix.AF_INET), birth.Int(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), birth.Int(0)).Into(sock)
	b.do(label, birth.Ioctl, birth.Load(sock), birth.Int(unix.SIOCSIFFLAGS), birth.Ptr(birth.Bytes("{lo, IFF_UP|IFF_RUNNING}", ifreq)))
	return nil
}

// sysctls are written through the host's /proc, which shows the values of the
// writer's namespaces. The container's own /proc could be something else by
// then (CVE-2025-52881).
func (b *builder) sysctls() error {
	for _, key := range slices.Sorted(maps.Keys(b.spec.Linux.Sysctl)) {
		if value := b.spec.Linux.Sysctl[key]; sysctlPath(key) == "kernel/domainname" {
			// The file belongs to the host's root, whatever the namespace.
			b.do("set sysctl "+key, birth.Setdomainname, birth.Str(value), birth.Int(len(value)))
			continue
		}
		write(&b.plan.Main, fmt.Sprintf("set sysctl %s", key), "/proc/sys/"+sysctlPath(key), b.spec.Linux.Sysctl[key])
	}
	return nil
}

// sysctlPath accepts both of sysctl(8)'s spellings: net.ipv4.x and net/ipv4/x,
// where the first separator decides and the other character stays itself.
func sysctlPath(key string) string {
	if dot, slash := strings.IndexByte(key, '.'), strings.IndexByte(key, '/'); slash >= 0 && (dot < 0 || slash < dot) {
		return key
	}
	return strings.NewReplacer(".", "/", "/", ".").Replace(key)
}

// oomScore raises or lowers the score. Without CAP_SYS_RESOURCE it can only be
// raised, and engines always send it: refusal is not an error (proc(5)). It
// comes before namespaces are joined: the files of /proc/self are not ours once
// we cannot be traced.
func (b *builder) oomScore() error {
	score := b.spec.Process.OOMScoreAdj
	if score == nil {
		return nil
	}
	const label = "set oom_score_adj"
	text, fd := strconv.Itoa(*score), birth.Cell(label)
	b.do(label, birth.Openat, birth.Int(unix.AT_FDCWD), birth.Str("/proc/self/oom_score_adj"), birth.Int(unix.O_WRONLY|unix.O_CLOEXEC), birth.Int(0)).Into(fd)
	refused, done := &birth.Mark{}, &birth.Mark{}
	b.do(label, birth.Write, birth.Load(fd), birth.Str(text), birth.Int(len(text))).OnErr(refused, unix.EACCES, unix.EPERM)
	b.plan.Main.Goto(label, done)
	b.here(refused)
	b.plan.Notice("process.oomScoreAdj " + text + ": without CAP_SYS_RESOURCE it can only be raised: it stays")
	b.here(done)
	return nil
}
