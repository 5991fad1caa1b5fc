package lifecycle_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// mount adds a mount.
func (b *box) mount(kind, source, dest string, options ...string) {
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Type: kind, Source: source, Destination: dest, Options: options})
}

// host makes a folder of the caller's outside of the root filesystem.
func (b *box) host() string {
	b.t.Helper()
	dir := filepath.Join(b.dir, "data")
	b.check(os.MkdirAll(dir, 0o755))
	return dir
}

// TestRootFilesystem: masked paths are empty, read-only ones cannot be written,
// /dev has the devices and nothing of the host's.
func TestRootFilesystem(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, `
			wc -c </proc/interrupts; ls -A /proc/acpi /sys/firmware
			ls -A /dev
			echo x >/dev/null
			for f in null zero full random urandom tty; do stat -c '%t:%T' /dev/$f; done
			for f in fd stdin stdout stderr ptmx; do readlink /dev/$f; done
			for f in /x /proc/sys/net/ipv4/ip_forward /sys/x; do (echo y >$f) 2>&1; done
			echo z >/dev/shm/x && cat /dev/shm/x
			stat -c %a /dev/shm /dev`)
		b.spec.Linux.MaskedPaths = append(b.spec.Linux.MaskedPaths, "/no/such/path", "/bin/cat/below")
		b.spec.Linux.ReadonlyPaths = append(b.spec.Linux.ReadonlyPaths, "/no/such/path")
		want := `0
/proc/acpi:

/sys/firmware:
fd
full
mqueue
null
ptmx
pts
random
shm
stderr
stdin
stdout
tty
urandom
zero
1:3
1:5
1:7
1:8
1:9
5:0
/proc/self/fd
/proc/self/fd/0
/proc/self/fd/1
/proc/self/fd/2
pts/ptmx
sh: can't create /x: Read-only file system
sh: can't create /proc/sys/net/ipv4/ip_forward: Read-only file system
sh: can't create /sys/x: Read-only file system
z
1777
755
`
		got := b.says()
		if c.inside.UID != 0 { // whoever is not its owner is told so
			got = strings.Replace(got, "ip_forward: Permission denied", "ip_forward: Read-only file system", 1)
		}
		if got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	})
}

// TestBindMounts has files and directories, missing mount points, links in the
// image that are fine, and attributes.
func TestBindMounts(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, `
			cat /etc/resolv.conf /run/data/file /deep/er/file /var/run/data/file /here
			for f in /run/data/new /deep/er/file /ro/new /etc/resolv.conf; do (echo new >$f) 2>&1 && echo wrote $f; done
			grep -E ' /(ro|run/data) ' /proc/self/mountinfo | cut -d' ' -f5,6 | sort`)
		dir := b.host()
		b.check(os.WriteFile(dir+"/file", []byte("data\n"), 0o644))
		b.check(os.WriteFile(b.dir+"/resolv", []byte("resolv\n"), 0o644))
		b.mkdir("run")
		b.mkdir("var")
		b.link("/run", "var/run")
		b.link("../run/resolv.conf", "etc/resolv.conf") // leads nowhere
		b.write("here", "hidden\n")
		b.mount("bind", dir, "/var/run/data", "rbind")
		b.mount("bind", dir+"/file", "/deep/er/file", "bind", "ro")
		b.mount("none", b.dir+"/resolv", "/etc/resolv.conf", "bind", "rw", "rprivate")
		b.mount("bind", "resolv", "here", "ro") // relative to the bundle; the type is enough
		b.mount("bind", dir, "/ro/", "bind", "ro", "nosuid", "nodev", "noexec")
		want := `resolv
data
data
data
resolv
wrote /run/data/new
sh: can't create /deep/er/file: Read-only file system
sh: can't create /ro/new: Read-only file system
wrote /etc/resolv.conf
/ro ro,nosuid,nodev,noexec,relatime
/run/data rw,relatime
`
		if got := b.says(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if text, err := os.ReadFile(dir + "/new"); err != nil || string(text) != "new\n" {
			t.Errorf("on the host: %q, %v", text, err)
		}
	})
}

// TestDanglingLinks: systemd's stub is often missing, and so is its folder.
func TestDanglingLinks(t *testing.T) {
	for _, target := range []string{"../run/systemd/resolve/stub-resolv.conf", "/run/x/../y/resolv.conf", "/no/such"} {
		b := oneID(t).bundle(t, "cat", "/etc/resolv.conf")
		b.check(os.WriteFile(b.dir+"/resolv", []byte("resolv\n"), 0o644))
		b.link(target, "etc/resolv.conf")
		b.mount("bind", "resolv", "/etc/resolv.conf", "ro")
		if r := b.run(); r.out != "resolv\n" {
			t.Errorf("%s: %+v", target, r)
		}
	}
}

// TestRecursiveMounts: rbind takes what is mounted below, and the options that
// begin with r act on it.
func TestRecursiveMounts(t *testing.T) {
	testenv.Need(t, "unshare", "mount")
	for options, want := range map[string]string{
		"bind":      "ro none",
		"rbind":     "rw below",
		"rbind,ro":  "ro below",
		"rbind,rro": "ro below-ro",
	} {
		c := engine(t)
		b := c.script(t, `
			(echo >/m/new) 2>/dev/null && echo rw || echo ro
			if test -e /m/sub/file; then (echo >/m/sub/new) 2>/dev/null && echo below || echo below-ro; else echo none; fi`)
		dir := b.host()
		b.check(os.Mkdir(dir+"/sub", 0o755))
		list := strings.Split(options, ",")
		if options == "bind" {
			list = append(list, "ro")
		}
		b.mount("bind", dir, "/m", list...)
		b.save()
		cmd := b.oci("run", "--bundle", b.dir, "c")
		inner := strings.Join(cmd.Args[len(c.wrap):], " ")
		cmd.Args = append(cmd.Args[:len(c.wrap):len(c.wrap)], "sh", "-c", "mount -t tmpfs none "+dir+"/sub && touch "+dir+"/sub/file && exec "+inner)
		if r := do(t, cmd); strings.Join(strings.Fields(r.out), " ") != want {
			t.Errorf("%s: %+v, want %q", options, r, want)
		}
	}
}

func TestTmpfs(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, `stat -c '%a %u' /t; grep ' /t ' /proc/self/mountinfo | cut -d' ' -f6; (echo >/t/x) 2>/dev/null && echo wrote`)
		b.mount("tmpfs", "tmpfs", "/t", "mode=1777", "size=64k", "noexec", "noatime", "defaults")
		if got := b.says(); !strings.HasPrefix(got, "1777 ") || !strings.HasSuffix(got, "rw,noexec,noatime\nwrote\n") {
			t.Errorf("%s", got)
		}
		b.spec.Mounts[len(b.spec.Mounts)-1].Options = []string{"no-such-option"}
		b.fails("mount tmpfs on /t: fsconfig: invalid argument")
	})
}

// TestWritableRoot: what is missing for mounts and the working directory is
// made in the root filesystem, by its owner.
func TestWritableRoot(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, "echo hello >/new; pwd")
		b.spec.Root.Readonly, b.spec.Process.Cwd = false, "/made/for/it"
		if got := b.says(); got != "/made/for/it\n" {
			t.Errorf("%q", got)
		}
		if text, err := os.ReadFile(b.root("new")); err != nil || string(text) != "hello\n" {
			t.Errorf("%q, %v", text, err)
		}
	})
}

func TestMissingSource(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.bundle(t, "true")
		b.mount("bind", "/no/such", "/x")
		b.fails("bind /no/such on /x: open_tree: no such file or directory")
		b.spec.Mounts = b.spec.Mounts[:len(b.spec.Mounts)-1]
		b.spec.Root.Path = "missing"
		b.fails("root filesystem " + b.dir + "/missing: open_tree: no such file or directory")
	})
}

// TestPropagation: what is mounted in a container stays there, and what the
// host mounts later is seen with rslave only.
func TestPropagation(t *testing.T) {
	testenv.Root(t)
	c := hostRoot(t)
	b := c.script(t, "mount -t tmpfs none /m/inside; echo ready; cat >/dev/null; ls /m/*")
	caps := []string{"CAP_SYS_ADMIN"}
	b.spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	b.spec.Linux.Resources = nil
	dir := b.host()
	for _, d := range []string{"inside", "outside"} {
		b.check(os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	b.mount("bind", dir, "/m", "rbind", "rslave")
	b.save()
	if r := do(t, b.oci("run", "--bundle", b.dir, "c")); !strings.Contains(r.out, "ready") || r.status != 0 {
		t.Fatalf("%+v", r)
	}
	if text, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(text), dir) {
		t.Errorf("mounts on the host: %s, %v", text, err)
	}
}
