package main_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"airplant/internal/testenv"

	"github.com/rogpeppe/go-internal/testscript"
)

// The stories lie in testdata/script of the module and drive the program that
// is released, not this test binary: how a process is born is what they test.
const stories = "../../testdata/script"

// storyTime is what all stories of a test have together. A rerun knows nothing
// of the deadline that "go test" was given.
const storyTime = 3 * time.Minute

func TestMain(m *testing.M) { testenv.Main(m) }

func TestOCI(t *testing.T) { tell(t, "oci-*.txtar") }

func TestTerminal(t *testing.T) { tell(t, "terminal-*.txtar") }

// tell runs stories as an account with subordinate ids.
func tell(t *testing.T, pattern string) {
	t.Helper()
	u := testenv.Subids(t)
	if u.Rerun(t) {
		return
	}
	tellAs(t, u, pattern)
}

// tellAs runs stories in a test that runs as the account.
func tellAs(t *testing.T, u testenv.User, pattern string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(stories, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories %s: %v", pattern, err)
	}
	testscript.Run(t, testscript.Params{
		Files:               files,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Deadline:            time.Now().Add(storyTime),
		Setup:               func(e *testscript.Env) error { return begin(e, u) },
		Cmds:                verbs,
	})
}

// verbs are what stories can do besides testscript's own commands.
//
//	need PROGRAM...              skip the story, and count it, without them
//	tun                          skip the story, and count it, without a usable /dev/net/tun
//	podman                       let podman run containers with us
//	debian                       set DEBIAN to an image of Debian
//	registry                     serve a registry, at REGISTRY
//	bundle DIR ARG...            a bundle with busybox whose process has the arguments
//	config DIR KEY=JSON...       set a value of its config.json; KEY+=JSON appends, KEY= removes
//	exits STATUS COMMAND...      run a command that ends with the status
//	refuses REGEXP COMMAND...    run a command that ends with status 1 and one line that says why
//	leaves FILE COMMAND...       run a command that leaves a process, whose output goes to the file
//	await REGEXP COMMAND...      run a command until its output matches
//	clean                        see that no process, mount or state is left
//	terminal DIALOG COMMAND...   run a command on a terminal; see dialog
//	console SOCKET               take a terminal from a socket as engines do
//	pidfd FILE                   see that the pidfd that came through the socket is of the pid in the file
//	dialog DIALOG                talk to the terminal that came through the socket
var verbs = map[string]func(*testscript.TestScript, bool, []string){
	"need":     plain("need PROGRAM...", 1, (*story).need),
	"tun":      plain("tun", 0, (*story).tun),
	"podman":   plain("podman", 0, (*story).podman),
	"debian":   plain("debian", 0, (*story).debian),
	"registry": plain("registry", 0, (*story).registry),
	"bundle":   plain("bundle DIR ARG...", 2, (*story).bundle),
	"config":   plain("config DIR KEY=JSON...", 2, (*story).config),
	"exits":    plain("exits STATUS COMMAND...", 2, (*story).exits),
	"refuses":  plain("refuses REGEXP COMMAND...", 2, (*story).refuses),
	"leaves":   plain("leaves FILE COMMAND...", 2, (*story).leaves),
	"await":    plain("await REGEXP COMMAND...", 2, (*story).await),
	"clean":    plain("clean", 0, (*story).clean),
	"terminal": plain("terminal DIALOG COMMAND...", 2, (*story).terminal),
	"console":  plain("console SOCKET", 1, (*story).console),
	"pidfd":    plain("pidfd FILE", 1, (*story).pidfd),
	"dialog":   plain("dialog DIALOG", 1, (*story).dialog),
}

// plain is a verb that cannot be negated.
func plain(usage string, least int, do func(*story, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < least {
			ts.Fatalf("usage: %s", usage)
		}
		do(ts.Value(storyKey{}).(*story), ts, args)
	}
}

// begin gives a story an environment of its own: the runtime directory too, so
// that what it leaves there is seen, and is nobody else's.
func begin(e *testscript.Env, u testenv.User) error {
	t := e.T().(testing.TB)
	s := &story{t: t, work: e.WorkDir, runtime: u.TempDir(t), program: testenv.Binary(t)}
	if err := os.Chmod(s.runtime, 0o700); err != nil {
		return err
	}
	e.Vars = append(e.Vars, u.Env()...)
	for key, value := range map[string]string{
		"AIRPLANT":        s.program,
		"BUSYBOX":         testenv.Busybox(t),
		"GID":             itoa(u.GID),
		"HOME":            filepath.Join(e.WorkDir, "home"),
		"PATH":            filepath.Dir(s.program) + ":" + e.Getenv("PATH"),
		"TERM":            "xterm",
		"TMPDIR":          filepath.Join(e.WorkDir, ".tmp"),
		"UID":             itoa(u.UID),
		"XDG_RUNTIME_DIR": s.runtime,
	} {
		e.Setenv(key, value)
	}
	for _, v := range e.Vars {
		s.vars = append(s.vars, name(v))
	}
	e.Values[storyKey{}] = s
	e.Defer(s.end)
	return os.Mkdir(filepath.Join(e.WorkDir, "home"), 0o700)
}
