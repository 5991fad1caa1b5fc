package plan

import (
	"reflect"
	"strings"
	"testing"

	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		options []string
		want    mountOptions
	}{
		{nil, mountOptions{}},
		{[]string{"defaults", "relatime", "async", "loud", "silent", "acl", "noacl", "iversion"}, mountOptions{}},
		{[]string{"rrelatime"}, mountOptions{clearAll: unix.MOUNT_ATTR__ATIME}},
		{[]string{"rnorelatime", "rnodev"}, mountOptions{setAll: unix.MOUNT_ATTR_STRICTATIME | unix.MOUNT_ATTR_NODEV, clearAll: unix.MOUNT_ATTR__ATIME}},
		{[]string{"sync", "lazytime", "dirsync"}, mountOptions{super: []string{"sync", "lazytime", "dirsync"}}},
		{[]string{"remount", "ro"}, mountOptions{remount: true, set: unix.MOUNT_ATTR_RDONLY}},
		{[]string{"bind", "copy-symlink", "src-nofollow", "dest-nofollow"}, mountOptions{bind: true, copyLink: true, linkSource: true, linkTarget: true}},
		{[]string{"rbind", "ridmap"}, mountOptions{bind: true, recursive: true, idmapped: true, idmapAlsoIn: true}},
		{[]string{"bind", "idmap=uids=0-1-2;gids=0-1-2"}, mountOptions{bind: true, idmapped: true, idmap: "uids=0-1-2;gids=0-1-2"}},
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
	for _, option := range attrOptions {
		name, a := option.Key, option.Value
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

// TestIDMapOption has crun's form of the option.
func TestIDMapOption(t *testing.T) {
	inside := userns.Map{
		UIDs: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1, HostID: 2, Size: 1000}},
		GIDs: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 500, Size: 100}},
	}
	m, err := parseIDMap("uids=0-1-10#10-11-10;gids=@0-100-1#@7-5-2", inside)
	if err == nil {
		t.Errorf("100 is not mapped: %v", m)
	}
	m, err = parseIDMap("uids=@1-3-10#20-30-1;gids=@7-5-2", inside)
	want := userns.Map{
		UIDs: []specs.LinuxIDMapping{{ContainerID: 1, HostID: 4, Size: 10}, {ContainerID: 20, HostID: 30, Size: 1}},
		GIDs: []specs.LinuxIDMapping{{ContainerID: 7, HostID: 505, Size: 2}},
	}
	if err != nil || !reflect.DeepEqual(m, want) {
		t.Errorf("%+v, %v", m, err)
	}
	for _, wrong := range []string{"", "uids=0-1-1", "gids=0-1-1", "uids=0-1;gids=0-1-1", "uids=0-1-1-1;gids=0-1-1", "uids=a-1-1;gids=0-1-1", "uids=-1-1-1;gids=0-1-1", "uids=0-1-1;pids=0-1-1", "uids=@0-0-2;gids=0-1-1", "uids=0-1-4294967296;gids=0-1-1"} {
		if m, err := parseIDMap(wrong, inside); err == nil {
			t.Errorf("%q: %+v", wrong, m)
		}
	}
}
