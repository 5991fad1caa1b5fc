package netdev

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// namespaces makes two, and leaves the test's thread in the first.
func namespaces(t *testing.T) (first, second *os.File) {
	t.Helper()
	testenv.Root(t)
	testenv.Need(t, "ip")
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	var list []*os.File
	for range 2 {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		list = append(list, f)
	}
	in(t, list[0])
	return list[0], list[1]
}

func in(t *testing.T, ns *os.File) {
	t.Helper()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

// ip runs ip(8) in a namespace.
func ip(t *testing.T, ns *os.File, args string) string {
	t.Helper()
	in(t, ns)
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return "error: " + string(out)
	}
	return string(out)
}

// device is a veth with addresses, as an administrator would set it up.
func veth(t *testing.T, ns *os.File, name string) {
	t.Helper()
	for _, args := range []string{
		"link add " + name + " type veth peer name " + name + "-peer", "link set " + name + "-peer up", "link set " + name + " address 02:00:00:00:00:07 mtu 1400 up",
		"addr add 192.0.2.7/24 brd 192.0.2.255 dev " + name, "addr add 2001:db8::7/64 dev " + name + " nodad",
	} {
		if out := ip(t, ns, args); out != "" {
			t.Fatalf("ip %s: %s", args, out)
		}
	}
}

// hasAll sees that a device is as veth made it.
func hasAll(t *testing.T, ns *os.File, name string) {
	t.Helper()
	out := ip(t, ns, "addr show dev "+name)
	for _, want := range []string{"UP", "mtu 1400", "02:00:00:00:00:07", "192.0.2.7/24 brd 192.0.2.255 scope global", "2001:db8::7/64 scope global"} {
		if !strings.Contains(out, want) {
			t.Errorf("%s: no %q in %s", name, want, out)
		}
	}
}

func TestMove(t *testing.T) {
	first, second := namespaces(t)
	veth(t, first, "a0")
	veth(t, first, "b0")
	m, err := Move(map[string]specs.LinuxNetDevice{"a0": {Name: "eth0"}, "b0": {}}, second)
	if err != nil {
		t.Fatal(err)
	}
	hasAll(t, second, "eth0")
	hasAll(t, second, "b0")
	if out := ip(t, first, "link show a0"); !strings.Contains(out, "error") {
		t.Errorf("a0 is still there: %s", out)
	}
	in(t, first)
	if err := m.Undo(); err != nil {
		t.Fatal(err)
	}
	hasAll(t, first, "a0")
	hasAll(t, first, "b0")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestMoveFails: the second device cannot be moved, so the first is back.
func TestMoveFails(t *testing.T) {
	first, second := namespaces(t)
	veth(t, first, "a0")
	veth(t, first, "b0")
	veth(t, second, "taken")
	for want, devices := range map[string]map[string]specs.LinuxNetDevice{
		"b0: file exists: the container's namespace has a device of that name": {"a0": {}, "b0": {Name: "taken"}},
		"none: no such device":   {"a0": {}, "none": {}},
		"lo: the loopback":       {"a0": {}, "lo": {Name: "lo1"}},
		`two devices are to be`:  {"a0": {Name: "x"}, "b0": {Name: "x"}},
		"is not the name of a d": {"a0": {Name: "../x"}},
	} {
		in(t, first)
		m, err := Move(devices, second)
		if err == nil || m != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		hasAll(t, first, "a0")
		hasAll(t, first, "b0")
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{".", "..", "a/b", "a:b", "eth%d", "a b", "sixteen-letters-", "x\x00"} {
		if Check(map[string]specs.LinuxNetDevice{"eth0": {Name: name}}) == nil || Check(map[string]specs.LinuxNetDevice{name: {}}) == nil {
			t.Errorf("%q is taken", name)
		}
	}
	if err := Check(map[string]specs.LinuxNetDevice{"eth0": {Name: "fifteen-letters"}, "eth1": {Name: "eth0"}}); err != nil {
		t.Error(err)
	}
}
