package seccomp

import (
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func capable(caps ...string) *specs.Spec {
	return &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
}

// TestDefault: what has been a way out, by every ABI, and its harmless twin.
func TestDefault(t *testing.T) {
	c, err := Default(capable("CAP_CHOWN"))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Architectures) < 2 {
		c.Architectures = []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32} // made on arm64
	}
	const newUser = unix.CLONE_NEWUSER
	for n, p := range []struct {
		d    *data
		want uint32
	}{
		{ofCall(t, x86_64, "socket", unix.AF_ALG, 5), eperm},
		{ofCall(t, x86_64, "socket", unix.AF_ALG|1<<32, 5), eperm},
		{ofCall(t, x86_64, "socket", unix.AF_VSOCK, 1), eperm},
		{ofCall(t, x86_64, "socket", unix.AF_VSOCK|1<<63, 1), eperm},
		{ofCall(t, x86_64, "socket", unix.AF_INET6, 1), allow},
		{ofCall(t, x86_64, "socket", unix.AF_NETLINK, 3), allow},
		{ofCall(t, x32, "socket", unix.AF_ALG|1<<32, 5), eperm},
		{ofCall(t, x32, "socket", unix.AF_UNIX, 1), allow},
		{ofCall(t, x86, "socket", unix.AF_ALG, 5), eperm},
		{ofCall(t, x86, "socket", unix.AF_INET, 1), allow},
		{ofCall(t, x86, "socketcall", 1), eperm},
		{ofCall(t, x86, "socketcall", 3), allow}, // connect
		{ofCall(t, x86_64, "ioctl", 0, unix.TIOCSTI), eperm},
		{ofCall(t, x86_64, "ioctl", 0, unix.TIOCSTI|1<<32), eperm},
		{ofCall(t, x86, "ioctl", 0, unix.TIOCSTI), eperm},
		{ofCall(t, x32, "ioctl", 0, unix.TIOCSTI), eperm},
		{ofCall(t, x86_64, "ioctl", 0, unix.TIOCLINUX), eperm},
		{ofCall(t, x86_64, "ioctl", 0, unix.TIOCGWINSZ), allow},
		{ofCall(t, x86_64, "ioctl", 0, unix.TCGETS), allow},
		{ofCall(t, x86_64, "ioctl", 0, unix.TIOCINQ), allow},
		{ofCall(t, x86_64, "ioctl", 0, unix.FS_IOC_GETFLAGS), allow},
		{ofCall(t, x86_64, "keyctl", 1), eperm},
		{ofCall(t, x86_64, "add_key"), eperm},
		{ofCall(t, x86_64, "bpf"), eperm},
		{ofCall(t, x86_64, "userfaultfd"), eperm},
		{ofCall(t, x86_64, "io_uring_setup"), eperm},
		{ofCall(t, x86_64, "mount"), eperm},
		{ofCall(t, x86_64, "unshare", newUser), eperm},
		{ofCall(t, x86_64, "clone", newUser), eperm},
		{ofCall(t, x86_64, "clone", newUser|1<<32), eperm},
		{ofCall(t, x86_64, "clone", unix.CLONE_VM), allow},
		{ofCall(t, x86_64, "clone3"), enosys},
		{ofCall(t, x86_64, "chroot"), eperm},
		{ofCall(t, x86_64, "read"), allow},
		{&data{number: 9000, token: unix.AUDIT_ARCH_X86_64}, enosys},
	} {
		if got := decided(t, c, p.d); got != p.want {
			t.Errorf("%d: %+v: %#x, want %#x", n, p.d, got, p.want)
		}
	}
	more, err := Default(capable("CAP_SYS_ADMIN", "CAP_SYS_CHROOT"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mount", "bpf", "chroot", "clone3"} {
		if got := decided(t, more, ofCall(t, x86_64, name)); got != allow {
			t.Errorf("with the capability, %s: %#x", name, got)
		}
	}
	if f, err := Compile(c); err != nil || f.Len() > 800 {
		t.Errorf("%d instructions, %v", f.Len(), err)
	}
	// Two are two: they share nothing.
	again, err := Default(capable())
	if err != nil || decided(t, again, ofCall(t, x86_64, "mount")) != eperm {
		t.Errorf("after another: %v", err)
	}
}

func TestLoad(t *testing.T) {
	const profile = `{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
		"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X32"]},{"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
		"syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW"},
			{"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]},"comment":"x"},
			{"names":["write"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"2.6"}}]}`
	c, err := Load([]byte(profile), capable())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Architectures) != 2 || len(c.Syscalls) != 1 || c.Syscalls[0].Names[0] != "read" {
		t.Errorf("%+v", c)
	}
	if c, err = Load([]byte(profile), capable("CAP_SYS_ADMIN")); err != nil || len(c.Syscalls) != 2 {
		t.Errorf("with the capability: %+v, %v", c, err)
	}
	for text, want := range map[string]string{
		"":                            "JSON",
		"{}":                          "no defaultAction",
		`{"defaultAction":"X"}`:       `unknown action "X"`,
		`{"syscalls":[{"name":"x"}]}`: "no defaultAction",
	} {
		if _, err := Load([]byte(text), capable()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func BenchmarkDefault(b *testing.B) {
	spec := capable("CAP_CHOWN")
	for b.Loop() {
		if _, err := Default(spec); err != nil {
			b.Fatal(err)
		}
	}
}
