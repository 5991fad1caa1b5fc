package lifecycle_test

import (
	"os"
	"strings"
	"testing"

	"airplant/internal/sys"
	"airplant/internal/testenv"
	"airplant/lifecycle/landlock"
)

// landlocked gives a box rules.
func (b *box) landlocked(rules string) {
	b.spec.Annotations = map[string]string{landlock.Annotation: rules}
}

func needLandlock(t *testing.T) {
	t.Helper()
	if v := sys.LandlockVersion(); v < 6 {
		testenv.Skip(t, "needs Landlock with scopes (Linux 6.12)")
	}
}

const ownRules = `{"fs": [{"paths": ["/bin", "/proc"], "access": "rx"}, {"paths": ["/data"], "access": "rw"}, {"paths": ["/etc/one"], "access": "r"}, {"paths": ["/dev/null"], "access": "rw"}],
	"connect": [7], "bind": [8], "scope": ["signal"], "mode": "required"}`

// TestLandlock: what is not allowed is denied, to the container's process and
// to those that are executed in it; without the annotation all of it works.
func TestLandlock(t *testing.T) {
	needLandlock(t)
	everybody(t, func(t *testing.T, c *caller) {
		const script = `
			for f in /etc/one /etc/two /link; do (cat $f) 2>&1; done
			for f in /data/x /etc/x /bin/x; do (echo x >$f) 2>&1 && echo wrote $f; done
			for p in 7 9; do nc -w 1 127.0.0.1 $p </dev/null 2>&1; done; true`
		b := c.script(t, script)
		b.spec.Root.Readonly = false
		b.write("etc/one", "one\n")
		b.write("etc/two", "two\n")
		b.link("/etc/two", "link")
		b.mount("tmpfs", "tmpfs", "/data", "mode=1777")
		free := b.says()
		if !strings.HasPrefix(free, "one\ntwo\ntwo\nwrote /data/x\nwrote /etc/x\nwrote /bin/x\n") || strings.Count(free, "Connection refused") != 2 {
			t.Fatalf("without rules: %s", free)
		}
		b.check(os.Remove(b.root("etc/x")))
		b.check(os.Remove(b.root("bin/x")))
		const want = `one
cat: can't open '/etc/two': Permission denied
cat: can't open '/link': Permission denied
wrote /data/x
sh: can't create /etc/x: Permission denied
sh: can't create /bin/x: Permission denied
nc: can't connect to remote host (127.0.0.1): Connection refused
nc: can't connect to remote host (127.0.0.1): Permission denied
`
		b.landlocked(ownRules)
		if got := b.says(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
		if len(c.wrap) > 0 {
			return // each command line has a user namespace of its own
		}
		b.spec.Process.Args = []string{"sleep", "1000"}
		b.save()
		b.must("run", "-d", "--bundle", b.dir, "c")
		defer b.must("delete", "-f", "c")
		if r := do(t, b.oci("exec", "c", "sh", "-c", script)); r.out != want {
			t.Errorf("exec: %+v", r)
		}
	})
}

// TestLandlockPaths: rules are for what the container's root has, not for what
// is on the host, and a link of the image cannot point them elsewhere.
func TestLandlockPaths(t *testing.T) {
	needLandlock(t)
	c := oneID(t)
	outside := c.user.TempDir(t)
	b := c.script(t, "cat /link/file; cat "+outside+"/file")
	b.link(outside, "link")
	b.check(os.MkdirAll(b.root(outside), 0o755))
	b.write(outside+"/file", "inside\n")
	b.check(os.WriteFile(outside+"/file", []byte("outside\n"), 0o644))
	b.landlocked(`{"fs": [{"paths": ["/bin"], "access": "rx"}, {"paths": ["/link"], "access": "r"}]}`)
	if got := b.says(); got != "inside\ninside\n" {
		t.Errorf("%q", got)
	}
}

// TestLandlockMissing: best effort says what is not there; required fails.
func TestLandlockMissing(t *testing.T) {
	needLandlock(t)
	b := oneID(t).bundle(t, "true")
	b.landlocked(`{"fs": [{"paths": ["/", "/none"], "access": "rx"}]}`)
	if r := b.run(); r.status != 0 || r.err != "airplant: warning: landlock: allow /none: it is not there, so nothing is allowed\n" {
		t.Errorf("%+v", r)
	}
	b.landlocked(`{"mode": "required", "fs": [{"paths": ["/", "/none"], "access": "rx"}]}`)
	b.fails("landlock: allow /none: openat2: no such file or directory")
	b.landlocked(`{"fs": "all"}`)
	b.fails("annotation org.airplant.landlock: ")
	b.landlocked(`{"fs": [{"paths": ["/bin"], "access": "r"}]}`)
	b.fails(`execute "true": permission denied`)
}

// TestLandlockScope: a process cannot signal one outside, though it sees it.
func TestLandlockScope(t *testing.T) {
	needLandlock(t)
	c := oneID(t)
	first := c.bundle(t, "sleep", "1000")
	first.save()
	first.must("run", "-d", "--bundle", first.dir, "c")
	defer first.must("delete", "-f", "c")
	for rules, want := range map[string]string{`{"scope": ["signal"]}`: "denied\n", `{"connect": []}`: "sent\n"} {
		b := c.script(t, "kill -0 1 2>/dev/null && echo sent || echo denied")
		b.join(first.status().Pid, "user", "pid")
		b.landlocked(rules)
		if got := b.says(); got != want {
			t.Errorf("%s: %q", rules, got)
		}
	}
}
