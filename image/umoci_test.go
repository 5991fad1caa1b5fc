package image

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"airplant/internal/testenv"

	"golang.org/x/sys/unix"
)

// treeDir tells the part of TestUmociTree that runs in the worker's namespace
// where the layout and umoci's result are.
const treeDir = "AIRPLANT_TEST_TREE"

// treeParts are the parts of this host that make the image: many owners and
// modes, setuid programs, links of both kinds.
var treeParts = []string{"etc", "usr/sbin", "usr/bin/su", "usr/bin/passwd", "usr/bin/perl*", "var/mail", "bin", "lib", "var/lib/dpkg"}

// TestUmociTree packs a part of this host as an image, unpacks it as root with
// umoci and unprivileged with a store, and compares file by file: type, mode,
// owner, times, size, content, attributes, links.
func TestUmociTree(t *testing.T) {
	if dir := os.Getenv(treeDir); dir != "" {
		compareTree(t, dir)
		return
	}
	testenv.Root(t)
	testenv.Need(t, "umoci", "tar", "unshare")
	u := testenv.Subids(t)
	dir := u.TempDir(t)
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	run("sh", "-c", "cd / && tar --format=pax --xattrs --xattrs-include='*' --one-file-system --ignore-failed-read -cf "+
		dir+"/tree.tar --exclude=etc/hosts --exclude=etc/resolv.conf --exclude=etc/hostname --no-recursion usr usr/bin var var/lib --recursion "+strings.Join(treeParts, " "))
	run("umoci", "init", "--layout", "layout")
	run("umoci", "new", "--image", "layout:x")
	run("umoci", "raw", "add-layer", "--image", "layout:x", "tree.tar")
	againstUmoci(t, u, dir)
}

// TestUmociDebian does the same with an image of Debian.
func TestUmociDebian(t *testing.T) {
	if dir := os.Getenv(treeDir); dir != "" {
		compareTree(t, dir)
		return
	}
	testenv.Root(t)
	testenv.Need(t, "umoci", "unshare")
	u := testenv.Subids(t)
	const shared = "/var/cache/airplant-test/debian"
	out, err := exec.CommandContext(t.Context(), "../testdata/debian-image.sh", shared).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 77 {
		testenv.Skip(t, "no image of Debian: "+string(out))
	}
	if err != nil {
		t.Fatalf("make an image of Debian: %v: %s", err, out)
	}
	dir := u.TempDir(t)
	if err := os.CopyFS(dir+"/layout", os.DirFS(shared)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "umoci", "tag", "--image", dir+"/layout:latest", "x").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	againstUmoci(t, u, dir)
}

// againstUmoci unpacks layout:x in dir with both.
func againstUmoci(t *testing.T, u testenv.User, dir string) {
	t.Helper()
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	run("umoci", "unpack", "--image", "layout:x", "bundle")
	var want []string
	for _, line := range tree(t, dir+"/bundle/rootfs") {
		if !strings.Contains(line, deviceMark) { // they are notes in the store
			want = append(want, line)
		}
	}
	if err := os.WriteFile(dir+"/want", []byte(strings.Join(want, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	run("cp", "/proc/"+fmt.Sprint(os.Getpid())+"/exe", "self")
	run("chown", "-R", fmt.Sprintf("%d:%d", u.UID, u.GID), "layout", "self", "want")
	cmd := u.Command(t, "unshare", "--user", "--map-auto", "--map-root-user", dir+"/self",
		"-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(cmd.Env, treeDir+"="+dir)
	out, err := cmd.CombinedOutput()
	t.Logf("in the worker's namespace:\n%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Fatal(err)
	}
}

// deviceMark is in the line of a device.
const deviceMark = " device "

// compareTree is the part that runs as uid 0 of a user namespace.
func compareTree(t *testing.T, dir string) {
	t.Helper()
	text, err := os.ReadFile(dir + "/want")
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	i, err := s.Pull(t.Context(), mustRef(t, "oci:"+dir+"/layout:x"), able())
	if err != nil {
		t.Fatal(err)
	}
	got, want := tree(t, i.Layers[0]), strings.Split(string(text), "\n")
	t.Logf("%d files", len(got))
	if len(got) < 500 {
		t.Errorf("only %d files were compared", len(got))
	}
	for i := range min(len(got), len(want)) { // both are in the order of names
		if got[i] != want[i] {
			t.Fatalf("file %d: airplant\n%s\numoci\n%s", i, got[i], want[i])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, umoci has %d", len(got), len(want))
	}
}

// tree describes each file below a directory in a line.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var lines []string
	links := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == "." {
			return err // umoci leaves the root's time as it is
		}
		line := fmt.Sprintf("%q %o %d:%d %d.%09d n%d", rel, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec, st.Nlink)
		switch e.Type() {
		case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
			line += deviceMark
		case fs.ModeSymlink:
			target, lerr := os.Readlink(path)
			line += " " + target
			err = lerr
		case 0:
			data, rerr := os.ReadFile(path)
			line += fmt.Sprintf(" %d %x", st.Size, sha256.Sum256(data))
			err = rerr
		}
		if first, ok := links[st.Ino]; ok && !e.IsDir() {
			line += " = " + first
		} else {
			links[st.Ino] = rel
		}
		lines = append(lines, line+attributes(path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func attributes(path string) string {
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, buf)
	if err != nil && !errors.Is(err, unix.ENOTSUP) {
		return " " + err.Error()
	}
	out := ""
	for _, name := range strings.Split(string(buf[:max(n, 0)]), "\x00") {
		if name == "" || name == "security.selinux" {
			continue
		}
		value := make([]byte, 1<<16)
		m, err := unix.Lgetxattr(path, name, value)
		out += fmt.Sprintf(" %s=%q %v", name, value[:max(m, 0)], err)
	}
	return out
}
