package doctor

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
)

func runtimeDir(f Facts) Line {
	l := Line{Name: "runtime directory", Status: OK, Text: f.Caller.RuntimeDir}
	switch {
	case f.Caller.hostRoot():
		l.Text = "/run, for root"
	case f.Caller.RuntimeDir == "":
		l.Status = Degraded
		l.Text = "$XDG_RUNTIME_DIR is not set: a directory in /tmp is used, which may outlive a reboot"
		l.Fix = "sudo install -d -m 700 -o $(id -u) /run/user/$(id -u) && export XDG_RUNTIME_DIR=/run/user/$(id -u)"
		if f.Host.Systemd {
			l.Fix = `sudo loginctl enable-linger "$USER" && export XDG_RUNTIME_DIR=/run/user/$(id -u)`
		}
	case f.Caller.RuntimeErr != "":
		l.Status, l.Blocks = Missing, true
		l.Text = "$XDG_RUNTIME_DIR, " + f.Caller.RuntimeDir + ": " + f.Caller.RuntimeErr
		l.Fix = "export XDG_RUNTIME_DIR=/run/user/$(id -u)   # or: unset XDG_RUNTIME_DIR"
	}
	return l
}

func storeLine(f Facts) Line {
	l := Line{Name: "store", Status: OK, Text: f.Store.FS + " on " + f.Store.Dir}
	if f.Store.Err != "" {
		l.Status = Missing
		l.Text = f.Store.Err
		if f.Store.Dir != "" {
			l.Text = "write to " + f.Store.Dir + ": " + f.Store.Err
		}
		l.Text += "; images cannot be kept, bundles run"
		l.Fix = "export XDG_DATA_HOME=DIR   # a directory of yours"
	}
	return l
}

func overlayLine(f Facts) Line {
	t := f.Tries[TryOverlay]
	l := Line{Name: "kernel overlay", Status: OK, Text: "on " + f.Store.FS}
	if t.OK() {
		return l
	}
	l.Status = Degraded
	l.Text = because(t) + ", on " + f.Store.FS
	switch {
	case f.Store.Err != "":
		l.Text = "not tried, since there is no store"
	case !t.Done:
		l.Text = because(t)
	case t.Errno == syscall.ENODEV:
		l.Text, l.Fix = "this kernel has not loaded it", "sudo modprobe overlay"
	case t.Step == "mount" && t.Errno == syscall.EINVAL && f.Store.FS == "overlay":
		l.Text = "an overlay cannot lie on an overlay"
		l.Fix = "export XDG_DATA_HOME=DIR   # on a volume or a tmpfs, not in the outer container's root file system"
	case t.Step == "mount" && denied(t.Errno) && f.restrictedByAppArmor():
		l.Text = "refused, as all in a user namespace is"
	case t.Step == "mount" && denied(t.Errno):
		l.Text = "refused to users (before Linux 5.11, or by an outer container): " + t.Errno.Error()
	case t.Step == "opaque" || t.Errno == syscall.EOPNOTSUPP:
		l.Text = f.Store.FS + " keeps no user extended attributes: " + because(t)
		l.Fix = "export XDG_DATA_HOME=DIR   # on ext4, xfs, btrfs, or tmpfs since Linux 6.6"
	}
	return l
}

// device words the line of a device node that may be absent or closed.
func device(f Facts, name, path, try, module, without string) Line {
	t := f.Tries[try]
	l := Line{Name: name, Status: OK, Text: path + " works"}
	if t.OK() {
		return l
	}
	l.Status = Degraded
	switch {
	case !f.Host.Devices[path]:
		l.Text = path + " is missing"
		l.Fix = "sudo modprobe " + module + "   # in an outer container: --device " + path
	case t.Done && t.Step == "open" && denied(t.Errno):
		l.Text = path + " cannot be opened: " + t.Errno.Error()
		l.Fix = "sudo chmod 666 " + path + "   # udev's own default"
	default:
		l.Text = path + ": " + because(t)
	}
	l.Text += "; " + without
	return l
}

func fuseLine(f Facts) Line {
	return device(f, "FUSE", devFUSE, TryFUSE, "fuse", "the overlays in user space cannot be used")
}

func tunLine(f Facts) Line {
	without := "networks use a veth pair and AF_PACKET"
	if t := f.Tries[TryPacket]; t.Done && !t.OK() {
		without = "and AF_PACKET is refused too (" + t.Errno.Error() + "): --network none and host only"
	}
	return device(f, "TUN", devTUN, TryTUN, "tun", without)
}

func procLine(f Facts) Line {
	l := Line{Name: "proc", Status: OK, Text: "a new one can be mounted"}
	full, subset := f.Tries[TryProc], f.Tries[TryProcSubset]
	switch {
	case full.OK():
		return l
	case !full.Done:
		l.Text = because(full)
	case subset.OK():
		l.Text = "only with subset=pid, since parts of ours are masked: no /proc/sys, no /proc/cpuinfo"
	default:
		l.Text = "ours is masked and is bound as it is: " + because(full)
	}
	l.Status = Degraded
	if denied(full.Errno) && !f.restrictedByAppArmor() {
		l.Fix = outerFix("unmask=ALL") + "   # docker: systempaths=unconfined, Kubernetes: procMount: Unmasked"
	}
	return l
}

func cgroupLine(f Facts) Line {
	g := f.Cgroup
	l := Line{Name: "cgroup", Status: Degraded}
	const without = "; containers run without limits"
	have := strings.Join(g.Controllers, ", ")
	switch {
	case g.Layout == "none":
		l.Text = "not mounted" + without
		l.Fix = "sudo mount -t cgroup2 none /sys/fs/cgroup"
		return l
	case g.Layout == "v1":
		l.Text = "version 1 only" + without
		l.Fix = unifyFix()
		return l
	case !g.Writable && g.Systemd == "":
		l.Text = fmt.Sprintf("%s, %s is not ours and no systemd of the user answers%s", g.Layout, g.Dir, without)
		switch {
		case g.Layout == "hybrid":
			l.Fix = unifyFix()
		case f.Host.Systemd:
			l.Fix = `sudo loginctl enable-linger "$USER"   # and log in again, so that $XDG_RUNTIME_DIR/systemd is there`
		default:
			dir := filepath.Join(g.Dir, "airplant")
			l.Fix = fmt.Sprintf("sudo mkdir %s && sudo chown -R $(id -u) %[1]s && echo $$ | sudo tee %[1]s/cgroup.procs", dir)
		}
		return l
	}
	way := "delegated: " + g.Dir
	if !g.Writable {
		way = "through the user's systemd: " + g.Systemd
	}
	if lacking := lacking(g.Controllers, "cpu", "memory", "pids"); len(lacking) > 0 {
		l.Text = fmt.Sprintf("%s, %s, without the controllers %s", g.Layout, way, strings.Join(lacking, ", "))
		switch {
		case g.Layout == "hybrid":
			l.Fix = unifyFix()
		case !g.Writable:
			l.Fix = delegateFix()
		}
		return l
	}
	l.Status, l.Text = OK, fmt.Sprintf("%s, %s, with %s", g.Layout, way, have)
	return l
}

func lacking(have []string, wanted ...string) (missing []string) {
	for _, name := range wanted {
		found := false
		for _, h := range have {
			found = found || h == name
		}
		if !found {
			missing = append(missing, name)
		}
	}
	return missing
}

func unifyFix() string {
	return "boot with systemd.unified_cgroup_hierarchy=1 cgroup_no_v1=all"
}

func delegateFix() string {
	const dir = "/etc/systemd/system/user@.service.d"
	return "sudo mkdir -p " + dir + " && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee " +
		dir + "/delegate.conf && sudo systemctl daemon-reload   # and log in again"
}

func seccompLine(f Facts) Line {
	t := f.Tries[TryNotify]
	l := Line{Name: "seccomp", Status: OK, Text: "filters and notification"}
	if f.Caller.Seccomp {
		l.Text += "; a filter from outside is in force"
	}
	if t.OK() {
		return l
	}
	l.Status = Degraded
	switch {
	case !t.Done:
		l.Text = because(t)
	case t.Errno == syscall.EINVAL:
		l.Text = "filters, no notification (Linux 5.0)"
	default:
		l.Text = "refused: " + t.Errno.Error()
	}
	if denied(t.Errno) && f.Caller.Seccomp {
		l.Fix = outerFix("seccomp=unconfined")
	}
	return l
}

func apparmor(f Facts) Line {
	l := Line{Name: "AppArmor", Status: OK, Text: "off"}
	switch {
	case f.restrictedByAppArmor():
		l.Status, l.Text = Degraded, "our profile is "+f.Host.AppArmor+"; it refuses user namespaces, see there"
	case f.Host.AppArmor != "":
		l.Text = "on, our profile is " + f.Host.AppArmor
	}
	return l
}

func memfdLine(f Facts) Line {
	t := f.Tries[TryMemfd]
	l := Line{Name: "executable memfd", Status: OK, Text: "allowed"}
	switch {
	case t.OK():
	case !t.Done:
		l.Status, l.Text = Degraded, because(t)
	default:
		// The compiled container is one.
		l.Status, l.Text, l.Blocks = Missing, because(t), true
		if f.Host.Knobs[knobMemfd] > 1 {
			l.Text = fmt.Sprintf("refused (%s=%d)", knobMemfd, f.Host.Knobs[knobMemfd])
			l.Fix = sysctlFix(knobMemfd, 0)
		}
	}
	return l
}

// calls are the lines of system calls that only need to be there.
func calls(f Facts) []Line {
	table := []struct {
		name, try, since, without string
		blocks                    bool
	}{
		{"openat2", TryOpenat2, "5.6", "paths in a root file system cannot be resolved safely", true},
		{"mount_setattr", TryMountSetattr, "5.12", "recursive mount options are refused", false},
		{"time namespaces", TryTimeNS, "5.6", "containers that ask for one are refused", false},
		{"session keyring", TryKeyring, "", "containers share the caller's", false},
	}
	var lines []Line
	for _, c := range table {
		t := f.Tries[c.try]
		l := Line{Name: c.name, Status: OK, Text: "works"}
		if !t.OK() {
			l.Status, l.Text = Degraded, because(t)+"; "+c.without
			if c.blocks && t.Done {
				l.Status, l.Blocks = Missing, true
			}
			if t.Errno == syscall.ENOSYS && c.since != "" {
				l.Text += "; it needs Linux " + c.since
			}
			if t.Done && f.Caller.Seccomp && (denied(t.Errno) || t.Errno == syscall.ENOSYS) {
				l.Fix = outerFix("seccomp=unconfined")
			}
		}
		lines = append(lines, l)
	}
	return lines
}
