package testenv

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// runs runs a shell line and returns its output.
func runs(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestCommandIsTheAccount(t *testing.T) {
	for name, u := range map[string]User{"subids": Subids(t), "plain": Plain(t)} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SECRET", "of root")
			got := runs(t, u.Command(t, "sh", "-c", `id -u; id -g; id -G; pwd; echo "$HOME $USER ($XDG_RUNTIME_DIR)$SECRET"`))
			lines := strings.Split(got, "\n")
			want := []string{
				strconv.Itoa(u.UID), strconv.Itoa(u.GID), lines[2], u.Home,
				strings.Join([]string{u.Home, u.Name, "(" + u.Runtime + ")"}, " "),
			}
			if strings.Join(lines, "\n") != strings.Join(want, "\n") {
				t.Errorf("got %q, want %q", lines, want)
			}
			if groups := strings.Fields(lines[2]); len(groups) != len(u.Groups) {
				t.Errorf("groups %v, want %v", groups, u.Groups)
			}
		})
	}
}

func TestSubidsMakeANamespace(t *testing.T) {
	u := Subids(t)
	Need(t, "unshare")
	out := runs(t, u.Command(t, "unshare", "--map-root-user", "--map-auto", "cat", "/proc/self/uid_map"))
	if rows := strings.Split(out, "\n"); len(rows) != 2 {
		t.Errorf("uid_map has %d rows, want the user's and the subordinate ids':\n%s", len(rows), out)
	}
}

func TestPlainHasNoSubids(t *testing.T) {
	u := Plain(t)
	Need(t, "unshare")
	out, err := u.Command(t, "unshare", "--map-root-user", "--map-auto", "true").CombinedOutput()
	if err == nil {
		t.Errorf("subordinate ids were mapped: %s", out)
	}
}

func TestTempDirBelongsToTheAccount(t *testing.T) {
	u := Subids(t)
	Need(t, "unshare")
	var dir string
	t.Run("use", func(t *testing.T) {
		dir = u.TempDir(t)
		runs(t, u.Command(t, "sh", "-c", `echo hi >"$1/f" && chmod 700 "$1"`, "sh", dir))
		// A directory of a subordinate id, which the account cannot empty.
		runs(t, u.Command(t, "unshare", "--map-root-user", "--map-auto", "sh", "-c",
			`mkdir "$1/d" && touch "$1/d/f" && chown 33:33 "$1/d" "$1/d/f"`, "sh", dir))
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("after the test: %v", err)
	}
}

func TestRerunIsTheAccount(t *testing.T) {
	u := Subids(t)
	t.Run("in a (subtest)", func(t *testing.T) {
		if u.Rerun(t) {
			return
		}
		if os.Geteuid() == 0 || os.Geteuid() != u.UID {
			t.Errorf("euid %d", os.Geteuid())
		}
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if text, err := os.ReadFile("testdata/rerun"); err != nil || string(text) != "read by a rerun\n" {
			t.Errorf("testdata: %q, %v", text, err)
		}
	})
}

func TestSubRange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "subuid")
	if err := os.WriteFile(file, []byte("a:1:2\n1000:5:6\nb:10:20\nb:30:40\nc:x:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, uid string
		want      Range
		fails     bool
	}{
		{"b", "2", Range{10, 20}, false},
		{"z", "1000", Range{5, 6}, false},
		{"z", "1", Range{}, false},
		{"c", "1", Range{}, true},
	} {
		got, err := subRange(file, &user.User{Username: test.name, Uid: test.uid})
		if got != test.want || (err != nil) != test.fails {
			t.Errorf("%s, %s: %v, %v", test.name, test.uid, got, err)
		}
	}
	if got, err := subRange(file+"-", &user.User{}); got != (Range{}) || err != nil {
		t.Errorf("missing file: %v, %v", got, err)
	}
}

func TestV2Command(t *testing.T) {
	u := Subids(t)
	Root(t)
	const script = `stat -f -c %T /sys/fs/cgroup
id -u
here=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)
mkdir "${here%/self}/other" && echo $$ >"${here%/self}/other/cgroup.procs"
sed -n 's/^0::.*\///p' /proc/self/cgroup`
	got := runs(t, u.V2Command(t, "sh", "-c", script))
	if want := "cgroup2fs\n" + strconv.Itoa(u.UID) + "\nother"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
