package lifecycle_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// TestCopyUp: a tmpfs begins with what it covers, whoever owns it, and the
// image stays as it is.
func TestCopyUp(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, `
			cd /var/lib; find . | sort; cat deep/er/file; readlink link; stat -c '%a %u:%g' . deep mine; stat -c %F fifo
			echo new >deep/er/file; rm link; ls /gone | wc -l; stat -c %a /gone`)
		b.mkdir("var/lib/deep/er")
		b.write("var/lib/deep/er/file", "old\n")
		b.write("var/lib/mine", "")
		b.link("../../etc/passwd", "var/lib/link")
		b.check(os.Chmod(b.root("var/lib/deep"), 0o711))
		b.check(os.Chmod(b.root("var/lib"), 0o777|os.ModeSticky))
		b.mount("tmpfs", "tmpfs", "/var/lib", "tmpcopyup")
		b.mount("tmpfs", "tmpfs", "/gone", "tmpcopyup", "rw")
		b.check(mkfifo(b.root("var/lib/fifo")))
		b.link("busybox", "bin/find")
		b.link("busybox", "bin/sort")
		owner := fmt.Sprintf("%d:%d", c.inside.UID, c.inside.GID)
		if c.name == "root in keep-id" {
			b.fails("mount /var/lib: option \"tmpcopyup\" takes id 0 in linux.uidMappings")
			return
		}
		want := ".\n./deep\n./deep/er\n./deep/er/file\n./fifo\n./link\n./mine\nold\n../../etc/passwd\n" +
			"1777 " + owner + "\n711 " + owner + "\n4755 " + owner + "\nfifo\n0\n1777\n"
		b.save()
		b.check(os.Chmod(b.root("var/lib/mine"), 0o755|os.ModeSetuid)) // a change of owner clears it
		if r := do(t, b.oci("run", "--bundle", b.dir, "c")); r.out != want || r.err != "" {
			t.Errorf("%+v\nwant %s", r, want)
		}
		if text, err := os.ReadFile(b.root("var/lib/deep/er/file")); err != nil || string(text) != "old\n" {
			t.Errorf("the image: %q, %v", text, err)
		}
	})
}

// TestCopyUpOfOtherIDs: files of subordinate ids keep their owners.
func TestCopyUpOfOtherIDs(t *testing.T) {
	c := subids(t)
	b := c.script(t, "stat -c '%u:%g' /run/* /run")
	b.write("run", "")
	b.check(os.Remove(b.root("run")))
	b.mkdir("run")
	b.mount("bind", b.host(), "/host")
	b.spec.Process.Args[2] = "mkdir /rest; echo x >/run/file; chown 33:34 /run/file; chown 5 /run; chmod 700 /run"
	b.spec.Root.Readonly = false
	b.link("busybox", "bin/chown")
	b.spec.Process.Capabilities = caps("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER")
	b.says()
	b.spec.Process.Args[2] = "stat -c '%u:%g' /run/file /run"
	b.mount("tmpfs", "tmpfs", "/run", "tmpcopyup")
	text := b.saveOnly()
	if r := do(t, b.oci("run", "--bundle", b.dir, "c")); r.out != "33:34\n5:0\n" {
		t.Errorf("%+v %s", r, text)
	}
}

// TestCopyUpStaysInside: what is copied are the names of a directory and not
// what their links lead to; the twin has the same names without links.
func TestCopyUpStaysInside(t *testing.T) {
	c := oneID(t)
	secret := c.user.TempDir(t) + "/secret"
	for _, l := range []bool{true, false} {
		b := c.script(t, "cat /d/file /d/dir/file 2>/dev/null; ls -l /d | grep -c -e '->'")
		b.check(os.WriteFile(secret, []byte("secret\n"), 0o644))
		b.mkdir("d")
		if l {
			b.link(secret, "d/file")
			b.link(filepath.Dir(secret), "d/dir")
		} else {
			b.write("d/file", "one\n")
			b.mkdir("d/dir")
			b.write("d/dir/file", "two\n")
		}
		b.mount("tmpfs", "tmpfs", "/d", "tmpcopyup")
		r := b.run()
		if want := map[bool]string{true: "2\n", false: "one\ntwo\n0\n"}[l]; r.out != want {
			t.Errorf("%+v, want %q", r, want)
		}
	}
}

// TestTmpfsMode: a new tmpfs has the mode of what it covers, unless it is said.
func TestTmpfsMode(t *testing.T) {
	b := oneID(t).script(t, "stat -c '%a %n' /one /two /three /four")
	for dir, mode := range map[string]os.FileMode{"one": 0o711, "two": 0o750, "four": 0o777 | os.ModeSticky} {
		b.mkdir(dir)
		b.check(os.Chmod(b.root(dir), mode))
	}
	b.mount("tmpfs", "tmpfs", "/one")
	b.mount("tmpfs", "tmpfs", "/two", "mode=0700")
	b.mount("tmpfs", "tmpfs", "/three", "ro")
	b.mount("tmpfs", "tmpfs", "/four", "ro")
	if got := b.says(); got != "711 /one\n700 /two\n1777 /three\n1777 /four\n" {
		t.Errorf("%s", got)
	}
}

// TestRemount changes a mount of the container's own, and cannot loosen one of
// the host's.
func TestRemount(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, `grep -E ' /t ' /proc/self/mountinfo | grep -o -E 'ro,noexec|size=[0-9]*k'`)
		b.mount("tmpfs", "tmpfs", "/t", "size=64k", "mode=755")
		b.mount("", "", "/t", "remount", "ro", "noexec", "size=128k")
		if got := b.says(); got != "ro,noexec\nsize=128k\n" {
			t.Errorf("%q", got)
		}
		b.spec.Mounts = b.spec.Mounts[:len(b.spec.Mounts)-1]
		b.mkdir("plain")
		b.mount("", "", "/plain", "remount", "ro")
		b.fails("remount /plain: mount_setattr: invalid argument")
	})
}

// TestLinksAsMounts has the options for symbolic links: a copy of one, one
// mounted itself, and a destination that is one.
func TestLinksAsMounts(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, "for f in /etc/localtime /mounted /there; do readlink $f; done; cat /file /target")
		b.spec.Root.Readonly = false
		b.check(os.Symlink("../usr/share/zone", b.host()+"/link"))
		b.check(os.WriteFile(b.host()+"/plain", []byte("plain\n"), 0o644))
		b.link("old", "etc/localtime") // of an earlier start, say
		b.link("target", "mounted")
		b.link("target", "there")
		b.write("target", "target\n")
		b.mount("bind", b.host()+"/link", "/etc/localtime", "copy-symlink")
		b.mount("bind", b.host()+"/plain", "/file", "copy-symlink", "ro")
		b.mount("bind", b.host()+"/link", "/mounted", "src-nofollow", "dest-nofollow")
		b.mount("bind", b.host()+"/link", "/there", "src-nofollow", "dest-nofollow", "bind")
		if got := b.says(); got != "../usr/share/zone\n../usr/share/zone\n../usr/share/zone\nplain\ntarget\n" {
			t.Errorf("%q", got)
		}
	})
}

// TestCopiedLinkStaysInside: a link of the image on the way to the place of a
// copied link leads to nothing of the host.
func TestCopiedLinkStaysInside(t *testing.T) {
	c := oneID(t)
	outside := c.user.TempDir(t)
	b := c.script(t, "readlink /dir/link")
	b.spec.Root.Readonly = false
	b.link(outside, "dir")
	b.check(os.MkdirAll(b.root(outside), 0o755))
	b.check(os.Symlink("target", b.host()+"/link"))
	b.mount("bind", b.host()+"/link", "/dir/link", "copy-symlink")
	if got := b.says(); got != "target\n" {
		t.Errorf("%q", got)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside: %v, %v", entries, err)
	}
}

// TestMeaninglessOptions: what changes nothing is said. The public validation
// suite (program mounts) gives a bind mount a mode, as engines' users do.
func TestMeaninglessOptions(t *testing.T) {
	b := oneID(t).bundle(t, "true")
	b.mount("bind", b.host(), "/m", "sync", "mode=755")
	want := ""
	for _, opt := range []string{"sync", "mode=755"} {
		want += fmt.Sprintf("airplant: warning: mount /m: option %q belongs to the file system and changes nothing in a bind mount\n", opt)
	}
	if r := b.run(); r.status != 0 || r.err != want {
		t.Errorf("%+v", r)
	}
}

// TestIDMappedMount: root shows a directory of one user as another's.
func TestIDMappedMount(t *testing.T) {
	testenv.Root(t)
	for _, situation := range []func(*testing.T) *caller{hostRoot, rootWithMap} {
		c := situation(t)
		b := c.script(t, "stat -c '%u:%g' /m/file /m/sub/file; echo x >/m/new && stat -c %u /m/new")
		dir := b.host()
		b.check(os.Mkdir(dir+"/sub", 0o755))
		b.check(os.WriteFile(dir+"/file", nil, 0o644))
		b.check(os.WriteFile(dir+"/sub/file", nil, 0o644))
		ids := []specs.LinuxIDMapping{{ContainerID: 4242, HostID: c.outside(0), Size: 1}}
		b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/m", Source: dir, Type: "bind", UIDMappings: ids, GIDMappings: ids, Options: []string{"rbind", "ridmap"}})
		b.mkdir("m")
		b.saveOnly()
		for _, f := range []string{dir, dir + "/sub", dir + "/file", dir + "/sub/file"} {
			b.check(os.Chown(f, 4242, 4242))
		}
		if r := do(t, b.oci("run", "--bundle", b.dir, "c")); r.out != "0:0\n0:0\n0\n" || r.err != "" {
			t.Errorf("%+v", r)
		}
		if owner := ownerOf(t, dir+"/new"); owner != 4242 {
			t.Errorf("the new file belongs to %d", owner)
		}
		if strings.Contains(fmt.Sprint(processes(filepath.Base(b.dir))), "airplant") {
			t.Error("something is left")
		}
	}
}
