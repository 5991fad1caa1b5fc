package lifecycle_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// kinds are the files of /proc/PID/ns.
var kinds = []string{"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"}

// listNS prints the namespaces of the process that reads it.
const listNS = `for n in cgroup ipc mnt net pid time user uts; do echo $n $(readlink /proc/self/ns/$n); done`

// namespacesOf are those of a process of the host, or of the caller's
// situation.
func (c *caller) namespaces(t *testing.T) map[string]string {
	t.Helper()
	return parseNS(do(t, c.command(t, "sh", "-c", listNS)).out)
}

func parseNS(out string) map[string]string {
	ns := map[string]string{}
	for _, l := range lines(out) {
		kind, id, _ := strings.Cut(l, " ")
		ns[kind] = id
	}
	return ns
}

// TestNamespaces: all that are asked for are new, and no other is.
func TestNamespaces(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, listNS)
		b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		outside, inside := c.namespaces(t), parseNS(b.says())
		if len(outside) != len(kinds) || len(inside) != len(kinds) {
			t.Fatalf("outside %v, inside %v", outside, inside)
		}
		for _, k := range kinds {
			shared := k == "user" && c.plain
			if len(c.wrap) > 0 && (k == "user" || k == "mnt") {
				continue // two runs of unshare, and numbers of what is gone are used again
			}
			if (inside[k] == outside[k]) != shared {
				t.Errorf("%s: inside %s, outside %s", k, inside[k], outside[k])
			}
		}
		// All but the last that can be left out.
		b.spec.Linux.Namespaces = without(b.spec, "time", "network", "ipc", "uts", "cgroup", "pid")
		b.spec.Hostname, b.spec.Mounts = "", withoutMount(b.spec, "/dev/mqueue")
		inside = parseNS(b.says())
		for _, k := range kinds {
			if k != "user" && k != "mnt" && inside[k] != outside[k] {
				t.Errorf("%s: inside %s, outside %s, and none was asked for", k, inside[k], outside[k])
			}
		}
	})
}

// TestNetworkNamespace has loopback up and nothing else.
func TestNetworkNamespace(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, `ip -o link | grep -v NOARP | cut -d' ' -f2,3; ip -o addr show lo | grep -o 'inet [^ ]*'`)
		if got := b.says(); got != "lo: <LOOPBACK,UP,LOWER_UP>\ninet 127.0.0.1/8\n" {
			t.Errorf("%s", got)
		}
	})
}

func TestSysctls(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/fs/mqueue/msg_max /proc/sys/kernel/domainname")
		b.spec.Linux.Sysctl = map[string]string{"net/ipv4/ip_default_ttl": "99", "fs.mqueue.msg_max": "11", "kernel.domainname": "example.org"}
		if c.ids.UIDs != nil && c.inside.UID != 0 && strings.HasPrefix(c.name, "keep one") || c.name == "root in keep-id" {
			delete(b.spec.Linux.Sysctl, "fs.mqueue.msg_max") // nobody is its owner
			b.spec.Process.Args[2] = "cat /proc/sys/net/ipv4/ip_default_ttl; echo 11; cat /proc/sys/kernel/domainname"
		}
		if got := b.says(); got != "99\n11\nexample.org\n" {
			t.Errorf("%q", got)
		}
		b.spec.Linux.Sysctl = map[string]string{"net.no.such": "1"}
		b.fails("set sysctl net.no.such: openat: no such file or directory")
	})
}

// TestTimeNamespace: the clocks have the offsets, and the process is in the new
// namespace, not only its children.
func TestTimeNamespace(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, "cat /proc/self/timens_offsets /proc/uptime")
		b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		b.spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 100_000, Nanosecs: 5}, "boottime": {Secs: 5_000_000}}
		f := strings.Fields(b.says())
		if len(f) != 8 || strings.Join(f[:6], " ") != "monotonic 100000 5 boottime 5000000 0" {
			t.Fatalf("%q", f)
		}
		text, err := os.ReadFile("/proc/uptime")
		b.check(err)
		outside, _ := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		inside, _ := strconv.ParseFloat(f[6], 64)
		if ahead := inside - outside; ahead < 4_999_990 || ahead > 5_000_010 {
			t.Errorf("%f seconds ahead", ahead)
		}
	})
}

// TestJoin has one container live in the namespaces of another.
func TestJoin(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		if len(c.wrap) > 0 {
			return // each command line has a user namespace of its own
		}
		first := c.script(t, listNS+">/tmp/ns; sleep 1000")
		first.mount("tmpfs", "tmpfs", "/tmp", "mode=1777")
		first.spec.Linux.Namespaces = append(first.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		first.save()
		first.must("run", "-d", "--bundle", first.dir, "c")
		defer first.must("delete", "-f", "c")
		pid := first.status().Pid
		there := map[string]string{}
		for _, k := range kinds {
			id, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, k))
			first.check(err)
			there[k] = id
		}
		for _, join := range []string{"network", "ipc network uts", "pid", "cgroup ipc network pid time uts"} {
			b := c.script(t, listNS+"; ps -o pid,args | grep -c 'slee[p] 1000'; id -u")
			list := []specs.LinuxNamespaceType{}
			for _, k := range strings.Fields(join) {
				list = append(list, specs.LinuxNamespaceType(k))
			}
			if !c.plain {
				list = append(list, specs.UserNamespace)
			}
			b.join(pid, list...)
			b.spec.Hostname = ""
			b.spec.Process.OOMScoreAdj = ptr(100)
			r := b.run()
			ns := parseNS(r.out)
			for _, k := range kinds {
				joined := strings.Contains(" "+join+" ", " "+longName(k)+" ") || k == "user"
				if (ns[k] == there[k]) != joined && k != "time" {
					t.Errorf("join %s: %s is %s, there %s: %+v", join, k, ns[k], there[k], r)
				}
			}
			tail := fmt.Sprintf("\n0\n%d\n", c.inside.UID)
			if strings.Contains(join, "pid") {
				tail = fmt.Sprintf("\n1\n%d\n", c.inside.UID)
			}
			if !strings.HasSuffix(r.out, tail) || r.status != 0 {
				t.Errorf("join %s: %+v", join, r)
			}
			b.nothingLeft()
		}
	})
}

// TestDeleteSparesWhoWasThere ends a container that lives in the namespaces of
// another, without a pid namespace of its own: the other lives on.
func TestDeleteSparesWhoWasThere(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		if len(c.wrap) > 0 {
			return // each command line has a user namespace of its own
		}
		first := c.script(t, "sleep 1000")
		first.save()
		first.must("run", "-d", "--bundle", first.dir, "c")
		defer first.must("delete", "-f", "c")
		second := c.script(t, "sleep 1001 & sleep 1001")
		kinds := []specs.LinuxNamespaceType{specs.UserNamespace, specs.PIDNamespace}
		if c.plain {
			kinds = []specs.LinuxNamespaceType{specs.MountNamespace, specs.PIDNamespace}
			second.spec.Root, second.spec.Mounts = &specs.Root{Path: "/"}, nil
			second.spec.Linux.MaskedPaths, second.spec.Linux.ReadonlyPaths = nil, nil
		}
		second.join(first.status().Pid, kinds...)
		second.save()
		second.must("run", "-d", "--bundle", second.dir, "d")
		second.must("kill", "--all", "d", "KILL")
		second.must("delete", "-f", "d")
		if s := first.status(); s.Status != specs.StateRunning {
			t.Errorf("the other is %s", s.Status)
		}
	})
}

func longName(kind string) string {
	return map[string]string{"net": "network", "mnt": "mount"}[kind] + map[bool]string{true: kind}[kind != "net" && kind != "mnt"]
}

func TestJoinWhatIsNotThere(t *testing.T) {
	b := oneID(t).bundle(t, "true")
	b.spec.Linux.Namespaces = append(without(b.spec, "network"), specs.LinuxNamespace{Type: "network", Path: filepath.Join(b.dir, "ns")})
	b.fails("join the network namespace " + b.dir + "/ns: openat: no such file or directory")
	b.check(os.WriteFile(filepath.Join(b.dir, "ns"), nil, 0o644))
	b.fails("join the network namespace " + b.dir + "/ns: setns: invalid argument")
	b.join(os.Getpid(), "network") // the host's, which is not ours to enter
	b.fails("join the network namespace /proc/")
}

// TestKeepID: files that the caller owns are its own inside, and files that the
// container makes are the caller's.
func TestKeepID(t *testing.T) {
	c := keepID(t)
	b := c.script(t, "stat -c %u:%g /data/file; id -u; echo x >/data/new; chmod 600 /data/new")
	dir := b.host()
	b.check(os.WriteFile(dir+"/file", nil, 0o600))
	b.mount("bind", dir, "/data")
	want := fmt.Sprintf("%d:%d\n%d\n", c.user.UID, c.user.GID, c.user.UID)
	if got := b.says(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if owner := ownerOf(t, dir+"/new"); owner != c.user.UID {
		t.Errorf("the new file belongs to %d", owner)
	}
}

// TestOwners: ids inside are the subordinate ones outside.
func TestOwners(t *testing.T) {
	c := subids(t)
	b := c.script(t, "echo >/data/new")
	dir := b.host()
	b.check(os.Chmod(dir, 0o777))
	b.spec.Process.User = specs.User{UID: 33, GID: 33}
	b.mount("bind", dir, "/data")
	b.says()
	if owner := ownerOf(t, dir+"/new"); owner != int(c.outside(33)) {
		t.Errorf("the new file belongs to %d, want %d", owner, c.outside(33))
	}
}
