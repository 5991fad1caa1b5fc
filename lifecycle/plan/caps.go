package plan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"airplant/internal/birth"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// capNames is in the order of the numbers of capabilities(7).
var capNames = [...]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

func capName(c int) string {
	if c < len(capNames) {
		return "CAP_" + capNames[c]
	}
	return fmt.Sprintf("CAP_%d", c)
}

// AllCapabilities lists the names of all capabilities.
func AllCapabilities() []string {
	list := make([]string, len(capNames))
	for n := range capNames {
		list[n] = capName(n)
	}
	return list
}

// capSets are bit masks by capability number.
type capSets struct{ bounding, effective, permitted, inheritable, ambient uint64 }

// capabilitySets reads the five sets; without any the process gets none. Names
// that mean nothing are returned, as "process.capabilities.SET: NAME".
func capabilitySets(c *specs.LinuxCapabilities) (s capSets, unknown []string) {
	if c == nil {
		return s, nil
	}
	for _, set := range []struct {
		name string
		from []string
		to   *uint64
	}{
		{"bounding", c.Bounding, &s.bounding},
		{"effective", c.Effective, &s.effective},
		{"permitted", c.Permitted, &s.permitted},
		{"inheritable", c.Inheritable, &s.inheritable},
		{"ambient", c.Ambient, &s.ambient},
	} {
		for _, name := range set.from {
			n, err := capNumber(name)
			if err != nil {
				unknown = append(unknown, fmt.Sprintf("process.capabilities.%s: %v", set.name, err))
				continue
			}
			*set.to |= 1 << n
		}
	}
	return s, unknown
}

// checkCapabilities refuses names that mean nothing in a configuration of
// version 1.0, where they "MUST cause an error". Since 1.1 (config.md, Linux
// Process) they, and what cannot be granted, are a warning: see grant.
func checkCapabilities(spec *specs.Spec, _ *Host) error {
	if _, unknown := capabilitySets(spec.Process.Capabilities); len(unknown) > 0 && strings.HasPrefix(spec.Version, "1.0.") {
		return errors.New(unknown[0])
	}
	return nil
}

// grant returns the sets of the configuration without what nobody can give the
// process, and says what that is. In a user namespace there is all that the
// kernel knows; outside of one, root may itself be without some.
func (b *builder) grant() capSets {
	sets, unknown := capabilitySets(b.spec.Process.Capabilities)
	for _, text := range unknown {
		b.plan.Notice(text)
	}
	have := uint64(1)<<(b.host.LastCap+1) - 1
	if !b.inUserNamespace() {
		have &^= b.host.Lacks
	}
	missing := (sets.bounding | sets.effective | sets.permitted | sets.inheritable | sets.ambient) &^ have
	for c := range 64 {
		if missing&(1<<c) != 0 {
			b.plan.Notice("process.capabilities: " + capName(c) + " cannot be granted: the kernel or the caller does not have it")
		}
	}
	for _, set := range []*uint64{&sets.bounding, &sets.effective, &sets.permitted, &sets.inheritable, &sets.ambient} {
		*set &= have
	}
	return sets
}

// inUserNamespace reports whether the process is in another user namespace
// than we are.
func (b *builder) inUserNamespace() bool {
	if b.entered != nil {
		return b.entered.Namespaces&unix.CLONE_NEWUSER != 0
	}
	return b.created[specs.UserNamespace] || b.shared[specs.UserNamespace] != ""
}

func capNumber(name string) (int, error) {
	for n, c := range capNames {
		if strings.EqualFold(name, "CAP_"+c) {
			return n, nil
		}
	}
	return 0, fmt.Errorf("unknown capability %q", name)
}

// capData is struct __user_cap_header_struct and two __user_cap_data_struct of
// capset(2), version 3.
func capData(effective, permitted, inheritable uint64) (header, sets *birth.Data) {
	h := binary.LittleEndian.AppendUint32(nil, unix.LINUX_CAPABILITY_VERSION_3)
	h = binary.LittleEndian.AppendUint32(h, 0)
	var d []byte
	for _, shift := range []int{0, 32} {
		for _, set := range []uint64{effective, permitted, inheritable} {
			d = binary.LittleEndian.AppendUint32(d, uint32(set>>shift))
		}
	}
	text := fmt.Sprintf("{effective %#x, permitted %#x, inheritable %#x}", effective, permitted, inheritable)
	return birth.Bytes("{version 3}", h), birth.Bytes(text, d)
}
