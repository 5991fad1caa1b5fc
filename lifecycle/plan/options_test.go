package plan

import (
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		options []string
		want    mountOptions
	}{
		{nil, mountOptions{}},
		{[]string{"defaults", "relatime", "rrelatime", "async", "loud"}, mountOptions{}},
		// As buildah 1.28 has it for --volume a:b.
		{[]string{"", "rbind"}, mountOptions{bind: true, recursive: true}},
		{[]string{"bind"}, mountOptions{bind: true}},
		{[]string{"rbind"}, mountOptions{bind: true, recursive: true}},
		{[]string{"rbind", "bind"}, mountOptions{bind: true, recursive: true}},
		{[]string{"ro", "nosuid"}, mountOptions{set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}},
		// The last one counts, and a clear stays one: the source may be read-only.
		{[]string{"ro", "rw"}, mountOptions{clear: unix.MOUNT_ATTR_RDONLY}},
		{[]string{"rw", "ro"}, mountOptions{set: unix.MOUNT_ATTR_RDONLY}},
		{[]string{"rro", "rnosuid"}, mountOptions{setAll: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID}},
		{[]string{"rro", "rrw"}, mountOptions{clearAll: unix.MOUNT_ATTR_RDONLY}},
		{[]string{"ro", "rrw"}, mountOptions{set: unix.MOUNT_ATTR_RDONLY, clearAll: unix.MOUNT_ATTR_RDONLY}},
		{[]string{"dev", "exec", "suid"}, mountOptions{clear: unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSUID}},
		{[]string{"noatime"}, mountOptions{set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME}},
		{[]string{"noatime", "strictatime"}, mountOptions{set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME}},
		{[]string{"rslave", "shared"}, mountOptions{propagation: []uint64{unix.MS_REC | unix.MS_SLAVE, unix.MS_SHARED}}},
		{[]string{"mode=755", "ro", "newinstance"}, mountOptions{set: unix.MOUNT_ATTR_RDONLY, data: []string{"mode=755", "newinstance"}}},
		{[]string{"rsize=1", "r"}, mountOptions{data: []string{"rsize=1", "r"}}},
	} {
		got, err := parseOptions(&specs.Mount{Destination: "/x", Type: "tmpfs", Options: c.options})
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: %+v, %v, want %+v", c.options, got, err, c.want)
		}
	}
	if o, err := parseOptions(&specs.Mount{Type: "bind"}); err != nil || !o.bind {
		t.Errorf("type bind: %+v, %v", o, err)
	}
}

// TestAttributesOfMountSetattr: the kernel refuses a call that sets an atime
// attribute and does not clear all of them (mount_setattr(2)).
func TestAttributesOfMountSetattr(t *testing.T) {
	for name, a := range attrOptions {
		if a.set&unix.MOUNT_ATTR__ATIME != 0 && a.clear != unix.MOUNT_ATTR__ATIME {
			t.Errorf("%s clears %#x", name, a.clear)
		}
		if a.set&a.clear&^uint64(unix.MOUNT_ATTR__ATIME) != 0 {
			t.Errorf("%s sets and clears %#x", name, a.set&a.clear)
		}
	}
}

func TestCapabilitySets(t *testing.T) {
	if s, unknown := capabilitySets(nil); unknown != nil || s != (capSets{}) {
		t.Errorf("none: %+v, %v", s, unknown)
	}
	s, unknown := capabilitySets(&specs.LinuxCapabilities{
		Bounding: []string{"CAP_CHOWN", "cap_kill"}, Effective: []string{"CAP_KILL"}, Permitted: []string{"CAP_SYS_ADMIN", "CAP_CHOWN"},
		Inheritable: []string{"CAP_CHECKPOINT_RESTORE"}, Ambient: nil,
	})
	want := capSets{bounding: 1<<0 | 1<<5, effective: 1 << 5, permitted: 1<<21 | 1, inheritable: 1 << 40}
	if unknown != nil || s != want {
		t.Errorf("%+v, %v, want %+v", s, unknown, want)
	}
	for _, wrong := range []string{"", "CHOWN", "CAP_", "CAP_CHOWN ", "CAP_41"} {
		s, unknown := capabilitySets(&specs.LinuxCapabilities{Permitted: []string{wrong, "CAP_CHOWN"}})
		if len(unknown) != 1 || !strings.Contains(unknown[0], "process.capabilities.permitted: unknown capability") || s.permitted != 1 {
			t.Errorf("%q is taken for a capability: %+v %q", wrong, s, unknown)
		}
	}
}

// TestCapabilityNumbers pins the order of the names to the kernel's numbers.
func TestCapabilityNumbers(t *testing.T) {
	for name, want := range map[string]int{
		"CAP_CHOWN": unix.CAP_CHOWN, "CAP_SETPCAP": unix.CAP_SETPCAP, "CAP_NET_RAW": unix.CAP_NET_RAW, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN,
		"CAP_MKNOD": unix.CAP_MKNOD, "CAP_SETFCAP": unix.CAP_SETFCAP, "CAP_SYSLOG": unix.CAP_SYSLOG, "CAP_AUDIT_READ": unix.CAP_AUDIT_READ,
		"CAP_PERFMON": unix.CAP_PERFMON, "CAP_BPF": unix.CAP_BPF, "CAP_CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE,
	} {
		if got, err := capNumber(name); err != nil || got != want || capName(want) != name {
			t.Errorf("%s is %d (%v), want %d", name, got, err, want)
		}
	}
	if len(AllCapabilities()) != unix.CAP_LAST_CAP+1 || capName(63) != "CAP_63" {
		t.Errorf("%d capabilities", len(AllCapabilities()))
	}
}

func TestSysctlPath(t *testing.T) {
	for key, want := range map[string]string{
		"net.ipv4.ip_forward":       "net/ipv4/ip_forward",
		"net/ipv4/ip_forward":       "net/ipv4/ip_forward",
		"net.ipv4.conf.eth0/1.tag":  "net/ipv4/conf/eth0.1/tag",
		"net/ipv4/conf/eth0.1/tag":  "net/ipv4/conf/eth0.1/tag",
		"kernel":                    "kernel",
		"kernel.shmmax/../hostname": "kernel/shmmax.//.hostname",
	} {
		if got := sysctlPath(key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}
