package doctor

import (
	"bytes"
	"encoding/json"
	"strings"
	"syscall"
	"testing"
)

// good is a host that has everything.
func good() Facts {
	f := Facts{
		Caller: Caller{UID: 1000, GID: 1000, Login: "fern", Exe: "/usr/bin/airplant", RuntimeDir: "/run/user/1000", IDs: allIDs},
		Host: Host{
			Release: "6.12.0", Machine: "x86_64", Knobs: map[string]int{knobMaxUser: 96365},
			Devices: map[string]bool{devFUSE: true, devTUN: true},
		},
		Maps:   Maps{SubUIDs: 65536, SubGIDs: 65536, Free: 700000, NewUIDMap: "/usr/bin/newuidmap", NewGIDMap: "/usr/bin/newgidmap"},
		Store:  Store{Dir: "/home/fern", FS: "ext4"},
		Cgroup: Cgroup{Layout: "v2", Dir: "/sys/fs/cgroup/fern", Writable: true, Controllers: []string{"cpu", "memory", "pids"}},
		Tries:  map[string]Try{},
	}
	for _, name := range []string{
		TryUserNS, TryAllNS, TryHelpers, TryOverlay, TryProc, TryProcSubset, TryFUSE, TryTUN, TryPacket,
		TryNotify, TryMemfd, TryOpenat2, TryMountSetattr, TryTimeNS, TryKeyring,
	} {
		f.Tries[name] = Try{Done: true}
	}
	return f
}

// noNamespaces is what is left to know when user namespaces are refused.
func (f *Facts) noNamespaces(errno syscall.Errno) {
	for _, name := range []string{
		TryHelpers, TryOverlay, TryProc, TryProcSubset, TryFUSE, TryTUN, TryPacket, TryMountSetattr, TryTimeNS, TryKeyring,
	} {
		delete(f.Tries, name)
	}
	f.Tries[TryUserNS] = Try{Done: true, Step: "clone", Errno: errno}
	f.Tries[TryAllNS] = f.Tries[TryUserNS]
}

func (f *Facts) refuse(name, step string, errno syscall.Errno) {
	f.Tries[name] = Try{Done: true, Step: step, Errno: errno}
}

func find(t *testing.T, lines []Line, name string) Line {
	t.Helper()
	for _, l := range lines {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("no line %q", name)
	return Line{}
}

type judgement struct {
	why    string
	change func(*Facts)
	line   string
	status Status
	blocks bool
	text   string // is part of the text
	fix    string // is part of the fix; empty: there is none
}

func check(t *testing.T, cases []judgement) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.why, func(t *testing.T) {
			f := good()
			c.change(&f)
			lines := Judge(f)
			l := find(t, lines, c.line)
			if l.Status != c.status || l.Blocks != c.blocks || !strings.Contains(l.Text, c.text) ||
				(c.fix == "") != (l.Fix == "") || !strings.Contains(l.Fix, c.fix) {
				t.Errorf("got %+v", l)
			}
			for _, l := range lines {
				if strings.Contains(l.Text+l.Fix, "errno 0") || strings.Contains(l.Text, "success") {
					t.Errorf("%s words a success as an error: %+v", c.why, l)
				}
				if l.Status == OK && (l.Fix != "" || l.Blocks) {
					t.Errorf("an ok line with a fix: %+v", l)
				}
			}
		})
	}
}

func TestJudgeAHostWithEverything(t *testing.T) {
	lines := Judge(good())
	seen := map[string]bool{}
	for _, l := range lines {
		if l.Status != OK || l.Fix != "" || l.Blocks || l.Text == "" || seen[l.Name] {
			t.Errorf("%+v", l)
		}
		seen[l.Name] = true
	}
	if ExitStatus(lines) != 0 {
		t.Error("containers cannot run")
	}
}

func TestJudgeUserNamespaces(t *testing.T) {
	check(t, []judgement{
		{"Debian's sysctl", func(f *Facts) {
			f.noNamespaces(syscall.EPERM)
			f.Host.Knobs[knobDebian] = 0
		}, "user namespaces", Missing, true, knobDebian, knobDebian + "=1"},
		{"limit of zero", func(f *Facts) {
			f.noNamespaces(syscall.ENOSPC)
			f.Host.Knobs[knobMaxUser] = 0
		}, "user namespaces", Missing, true, "switched off", knobMaxUser + "="},
		{"limit reached", func(f *Facts) {
			f.noNamespaces(syscall.ENOSPC)
		}, "user namespaces", Missing, true, "limit is reached", "192730"},
		{"outer seccomp", func(f *Facts) {
			f.noNamespaces(syscall.EPERM)
			f.Caller.Seccomp = true
		}, "user namespaces", Missing, true, "seccomp", "seccomp=unconfined"},
		{"kernel without", func(f *Facts) {
			f.noNamespaces(syscall.EINVAL)
		}, "user namespaces", Missing, true, "CONFIG_USER_NS", ""},
		{"unknown cause", func(f *Facts) {
			f.noNamespaces(syscall.EPERM)
		}, "user namespaces", Missing, true, "security module", ""},
		{"root does without", func(f *Facts) {
			f.noNamespaces(syscall.EINVAL)
			f.Caller.UID = 0
		}, "user namespaces", Missing, false, "CONFIG_USER_NS", ""},
		{"Ubuntu, namespaces without capabilities", func(f *Facts) {
			f.Host.Knobs[knobAppArmor] = 1
			f.refuse(TryOverlay, "mount", syscall.EACCES)
			f.refuse(TryProc, "mount", syscall.EACCES)
		}, "user namespaces", Missing, true, "AppArmor", `profile airplant "/usr/bin/airplant" flags=(unconfined) { userns, }`},
		{"Ubuntu, with our profile", func(f *Facts) {
			f.Host.Knobs[knobAppArmor] = 1
		}, "user namespaces", OK, false, "allowed", ""},
		{"probe did not run", func(f *Facts) {
			f.noNamespaces(0)
			delete(f.Tries, TryUserNS)
		}, "user namespaces", Missing, true, "not tried", ""},
		{"no network namespace", func(f *Facts) {
			f.refuse(TryAllNS, "clone", syscall.ENOSPC)
			f.Host.Refused = map[string]syscall.Errno{"network": syscall.ENOSPC}
		}, "namespaces", Missing, false, "network", "sysctl user"},
		{"no mount namespace", func(f *Facts) {
			f.refuse(TryAllNS, "clone", syscall.EPERM)
			f.Host.Refused = map[string]syscall.Errno{"mount": syscall.EPERM}
		}, "namespaces", Missing, true, "mount", ""},
	})
}

func TestJudgeIdentity(t *testing.T) {
	without := func(f *Facts) {
		f.Maps = Maps{Free: 700000}
		delete(f.Tries, TryHelpers)
	}
	check(t, []judgement{
		{"subids", func(*Facts) {}, "identity", OK, false, "65536", ""},
		{"one id", without, "identity", Degraded, false, "one id", ""},
		{"no subids", without, "subids", Missing, false, "fern", "--add-subuids 700000-765535 --add-subgids 700000-765535 fern"},
		{"no helpers", without, "id map helpers", Missing, false, "not installed", "uidmap"},
		{"few subids", func(f *Facts) { f.Maps.SubGIDs = 1000 }, "subids", Degraded, false, "1000 gids", "--add-subgids"},
		{"host root", func(f *Facts) { without(f); f.Caller.UID = 0 }, "identity", OK, false, "host root", ""},
		{"host root needs no subids", func(f *Facts) { without(f); f.Caller.UID = 0 }, "subids", OK, false, "not needed", ""},
		{"nested root", func(f *Facts) {
			without(f)
			f.Caller.UID, f.Caller.IDs = 0, 65537
		}, "identity", OK, false, "65537", ""},
		{"nested root with one id", func(f *Facts) {
			without(f)
			f.Caller.UID, f.Caller.IDs = 0, 1
		}, "identity", Degraded, false, "one id", ""},
		{"no new privileges", func(f *Facts) {
			f.Caller.NoNewPrivs = true
			f.refuse(TryHelpers, "write", syscall.EPERM)
		}, "id map helpers", Missing, false, "no_new_privs", "allowPrivilegeEscalation"},
		{"not setuid", func(f *Facts) {
			f.Maps.Unprivileged = []string{"/usr/bin/newuidmap"}
			f.refuse(TryHelpers, "write", syscall.EPERM)
		}, "id map helpers", Missing, false, "setuid", "chmod u+s /usr/bin/newuidmap"},
		{"helpers complain", func(f *Facts) {
			f.Maps.Said = "uid range not allowed"
			f.refuse(TryHelpers, "write", syscall.EPERM)
		}, "id map helpers", Missing, false, "uid range not allowed", ""},
	})
}

func TestJudgeFiles(t *testing.T) {
	check(t, []judgement{
		{"no runtime directory", func(f *Facts) { f.Caller.RuntimeDir = "" }, "runtime directory", Degraded, false, "/tmp", "install -d"},
		{"another's runtime directory", func(f *Facts) { f.Caller.RuntimeErr = "belongs to uid 0" }, "runtime directory", Missing, true, "uid 0", "unset"},
		{"no store", func(f *Facts) {
			f.Store.Err = "read-only file system"
			delete(f.Tries, TryOverlay)
		}, "store", Missing, false, "read-only", "XDG_DATA_HOME"},
		{"overlay on overlay", func(f *Facts) {
			f.Store.FS = "overlay"
			f.refuse(TryOverlay, "mount", syscall.EINVAL)
		}, "kernel overlay", Degraded, false, "cannot lie on", "volume"},
		{"no overlay module", func(f *Facts) { f.refuse(TryOverlay, "mount", syscall.ENODEV) }, "kernel overlay", Degraded, false, "loaded", "modprobe"},
		{"old kernel", func(f *Facts) { f.refuse(TryOverlay, "mount", syscall.EPERM) }, "kernel overlay", Degraded, false, "5.11", ""},
		{"no extended attributes", func(f *Facts) { f.refuse(TryOverlay, "opaque", syscall.EIO) }, "kernel overlay", Degraded, false, "extended attributes", "XDG_DATA_HOME"},
		{"fuse closed", func(f *Facts) { f.refuse(TryFUSE, "open", syscall.EACCES) }, "FUSE", Degraded, false, "cannot be opened", "chmod 666 /dev/fuse"},
		{"fuse refused", func(f *Facts) { f.refuse(TryFUSE, "mount", syscall.EPERM) }, "FUSE", Degraded, false, "mount", ""},
		{"no tun", func(f *Facts) {
			f.Host.Devices[devTUN] = false
			f.refuse(TryTUN, "open", syscall.ENOENT)
		}, "TUN", Degraded, false, "veth", "modprobe tun"},
		{"no tun and no packets", func(f *Facts) {
			f.refuse(TryTUN, "open", syscall.EACCES)
			f.refuse(TryPacket, "socket", syscall.EPERM)
		}, "TUN", Degraded, false, "none and host only", "chmod"},
		{"masked proc", func(f *Facts) { f.refuse(TryProc, "mount", syscall.EPERM) }, "proc", Degraded, false, "subset=pid", "unmask"},
		{"no proc at all", func(f *Facts) {
			f.refuse(TryProc, "mount", syscall.EPERM)
			f.refuse(TryProcSubset, "mount", syscall.EPERM)
		}, "proc", Degraded, false, "bound", "unmask"},
	})
}

func TestJudgeTheRest(t *testing.T) {
	check(t, []judgement{
		{"cgroups of root, no systemd", func(f *Facts) { f.Cgroup.Writable = false }, "cgroup", Degraded, false, "not ours", "mkdir /sys/fs/cgroup/fern/airplant"},
		{"cgroups of root", func(f *Facts) { f.Cgroup.Writable, f.Host.Systemd = false, true }, "cgroup", Degraded, false, "not ours", "enable-linger"},
		{"hybrid cgroups of root", func(f *Facts) { f.Cgroup.Writable, f.Cgroup.Layout = false, "hybrid" }, "cgroup", Degraded, false, "not ours", "unified"},
		{"cgroups of systemd", func(f *Facts) {
			f.Cgroup.Writable, f.Cgroup.Systemd = false, "/run/user/1000/systemd/private"
		}, "cgroup", OK, false, "systemd", ""},
		{"controllers not delegated", func(f *Facts) {
			f.Cgroup.Writable, f.Cgroup.Systemd, f.Cgroup.Controllers = false, "/run/user/1000/bus", []string{"memory", "pids"}
		}, "cgroup", Degraded, false, "without the controllers cpu", "Delegate="},
		{"hybrid", func(f *Facts) { f.Cgroup.Layout, f.Cgroup.Controllers = "hybrid", nil }, "cgroup", Degraded, false, "hybrid", "unified_cgroup_hierarchy"},
		{"v1", func(f *Facts) { f.Cgroup = Cgroup{Layout: "v1"} }, "cgroup", Degraded, false, "version 1", "unified_cgroup_hierarchy"},
		{"no cgroups", func(f *Facts) { f.Cgroup = Cgroup{Layout: "none"} }, "cgroup", Degraded, false, "not mounted", "mount -t cgroup2"},
		{"old seccomp", func(f *Facts) { f.refuse(TryNotify, "", syscall.EINVAL) }, "seccomp", Degraded, false, "5.0", ""},
		{"outer seccomp", func(f *Facts) {
			f.Caller.Seccomp = true
			f.refuse(TryNotify, "", syscall.EPERM)
		}, "seccomp", Degraded, false, "refused", "unconfined"},
		{"AppArmor", func(f *Facts) { f.Host.AppArmor = "unconfined" }, "AppArmor", OK, false, "unconfined", ""},
		{"memfd not executable", func(f *Facts) {
			f.Host.Knobs[knobMemfd] = 2
			f.refuse(TryMemfd, "", syscall.EACCES)
		}, "executable memfd", Missing, true, knobMemfd, knobMemfd + "=0"},
		{"no openat2", func(f *Facts) { f.refuse(TryOpenat2, "", syscall.ENOSYS) }, "openat2", Missing, true, "5.6", ""},
		{"openat2 filtered", func(f *Facts) {
			f.Caller.Seccomp = true
			f.refuse(TryOpenat2, "", syscall.ENOSYS)
		}, "openat2", Missing, true, "safely", "unconfined"},
		{"no keyring", func(f *Facts) { f.refuse(TryKeyring, "keyctl", syscall.EDQUOT) }, "session keyring", Degraded, false, "share", ""},
	})
}

func TestPrint(t *testing.T) {
	f := good()
	f.noNamespaces(syscall.EPERM)
	f.Host.Knobs[knobDebian] = 0
	lines := Judge(f)
	var text, machine bytes.Buffer
	if err := Print(&text, lines); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"missing ", "fix: echo " + knobDebian + "=1", "containers cannot run here: user namespaces"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if err := PrintJSON(&machine, lines); err != nil {
		t.Fatal(err)
	}
	var back struct {
		CanRun *bool
		Lines  []Line
	}
	if err := json.Unmarshal(machine.Bytes(), &back); err != nil || back.CanRun == nil || *back.CanRun || len(back.Lines) != len(lines) {
		t.Errorf("%v: %s", err, machine.Bytes())
	}
}
