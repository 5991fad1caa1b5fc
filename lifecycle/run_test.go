package lifecycle_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.bundle(t, "sh", "-c", "cat; echo done >&2; exit 7")
		b.save()
		cmd := b.oci("run", "--bundle", b.dir, "c")
		cmd.Stdin = strings.NewReader("one\ntwo\n")
		if r := do(t, cmd); r.status != 7 || r.out != "one\ntwo\n" || r.err != "done\n" {
			t.Errorf("%+v", r)
		}
		b.nothingLeft()
	})
}

func TestExitStatus(t *testing.T) {
	c := oneID(t)
	for script, want := range map[string]int{
		"exit 0": 0, "exit 7": 7, "exit 255": 255,
		// A first process of a pid namespace does not end by signals that it
		// sends itself (pid_namespaces(7)), so its child does.
		"sh -c 'kill -TERM $$'; exit $?": 128 + 15, "sh -c 'kill -KILL $$'; exit $?": 128 + 9,
	} {
		b := c.script(t, script)
		if r := b.run(); r.status != want || strings.Contains(r.err, "airplant") {
			t.Errorf("%s: %+v", script, r)
		}
		b.nothingLeft()
	}
	b := c.script(t, "kill -KILL $$")
	b.spec.Linux.Namespaces = without(b.spec, "pid")
	if r := b.run(); r.status != 137 || r.err != "" {
		t.Errorf("killed: %+v", r)
	}
}

// TestCommandNotFound has the errors of execve; runc's status is 1 for all.
func TestCommandNotFound(t *testing.T) {
	c := oneID(t)
	for want, args := range map[string][]string{
		`execute "nothing": no such file or directory`:     {"nothing"},
		`execute "/no/such": no such file or directory`:    {"/no/such"},
		`execute "/bin": permission denied`:                {"/bin"},
		`execute "/etc/text": permission denied`:           {"/etc/text"},
		`execute "/etc/broken": exec format error`:         {"/etc/broken"},
		`execute "/etc/loop": `:                            {"/etc/loop"},
		`execute "/etc/script": no such file or directory`: {"/etc/script"},
	} {
		b := c.bundle(t, args...)
		b.write("etc/text", "hello")
		b.check(os.Chmod(b.root("etc/text"), 0o644))
		b.write("etc/broken", "\x7fELFnot")
		b.write("etc/script", "#!/no/interpreter\n")
		b.link("loop", "etc/loop")
		b.fails(want)
	}
}

func TestSearchPath(t *testing.T) {
	c := oneID(t)
	for _, s := range []struct {
		env  []string
		want string
	}{
		{[]string{"PATH=/one:/two"}, "two"},
		{[]string{"PATH=/one:/two", "PATH=/three"}, "three"},
		{[]string{"PATH=:/two"}, "here"}, // an empty entry is the current directory
		{[]string{"NOPATH=/three"}, "bin"},
	} {
		b := c.bundle(t, "which")
		for _, d := range []string{"one/which", "two", "three", "here"} { // one/which is a directory
			b.mkdir(d)
		}
		for name, dir := range map[string]string{"two": "two", "three": "three", "here": "here", "bin": "bin"} {
			b.write(dir+"/which", "#!/bin/sh\necho "+name+"\n")
		}
		b.spec.Process.Env, b.spec.Process.Cwd = s.env, "/here"
		if got := b.says(); strings.TrimSpace(got) != s.want {
			t.Errorf("%v: %q, want %q", s.env, got, s.want)
		}
	}
}

// TestProcess sees that the process is as configured.
func TestProcess(t *testing.T) {
	everybody(t, func(t *testing.T, c *caller) {
		b := c.script(t, `pwd; umask; echo "$A $HOME"; hostname; id -u; id -g; cat /proc/sys/kernel/domainname; readlink /proc/self/cwd`)
		umask := uint32(0o027)
		b.mkdir("srv/app")
		b.spec.Process.Cwd, b.spec.Process.User.Umask = "/srv/app", &umask
		b.spec.Process.Env = append(b.spec.Process.Env, "A=b c")
		b.spec.Hostname, b.spec.Domainname = "host.name", "domain"
		b.write("etc/passwd", fmt.Sprintf("x:x:%d:0:::/bin/sh\nme:x:%d:0::/my/home:/bin/sh\n", c.inside.UID+1, c.inside.UID))
		want := fmt.Sprintf("/srv/app\n0027\nb c /my/home\nhost.name\n%d\n%d\ndomain\n/srv/app\n", c.inside.UID, c.inside.GID)
		if got := b.says(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
