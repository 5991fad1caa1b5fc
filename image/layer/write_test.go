package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"airplant/internal/testenv"

	"golang.org/x/sys/unix"
)

// openAll opens directories for the length of a test.
func openAll(t testing.TB, dirs []string) []*os.File {
	t.Helper()
	var list []*os.File
	for _, d := range dirs {
		f, err := os.Open(d)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		list = append(list, f)
	}
	return list
}

// writeAll writes every layer of an unpacked stack again, the bottom one first,
// and sees that it is the same each time.
func writeAll(t *testing.T, dirs []string, opts WriteOptions) [][]byte {
	t.Helper()
	var layers [][]byte
	files := openAll(t, dirs)
	for n := range slices.Backward(files) {
		var first, second bytes.Buffer
		for _, b := range []*bytes.Buffer{&first, &second} {
			if _, err := WriteChanges(t.Context(), b, files[n], files[n+1:], opts); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Error("the same files gave other bytes")
		}
		layers = append(layers, first.Bytes())
	}
	return layers
}

// TestWrite writes the layers of the corpus again from their directories, and
// all that a stack shows as one layer: unpacked, both show what the original
// does.
func TestWrite(t *testing.T) {
	if rerunInWorker(t, testenv.Subids, "--map-auto") {
		return
	}
	n := 0
	for _, c := range corpus(t) {
		if len(c.errs) > 0 {
			continue
		}
		n++
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			dirs, results, err := unpackAll(t, filepath.Join(dir, "first"), c.layers, Options{})
			if err != nil {
				t.Fatal(err)
			}
			again, _, err := unpackAll(t, filepath.Join(dir, "again"), writeAll(t, dirs, WriteOptions{}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, dump(t, mergeOverlay(t, again)), c.tree)

			var stack []Stored
			for n, f := range openAll(t, dirs) {
				stack = append(stack, Stored{Dir: f, Skipped: results[len(results)-1-n].Skipped})
			}
			var b bytes.Buffer
			if err := WriteTree(t.Context(), &b, stack, WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			flat, _, err := unpackAll(t, filepath.Join(dir, "flat"), [][]byte{b.Bytes()}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			compare(t, dump(t, mergeOverlay(t, flat)), c.tree)
		})
	}
	if n < 40 {
		t.Errorf("only %d cases", n)
	}
}

// headers lists the entries of a tar by name.
func headers(t *testing.T, raw []byte) map[string]*tar.Header {
	t.Helper()
	list := map[string]*tar.Header{}
	for tr := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list[h.Name] = h
	}
}

// TestWriteOneID sees that owners and devices survive where files have neither.
func TestWriteOneID(t *testing.T) {
	if rerunInWorker(t, testenv.NoSubids) {
		return
	}
	b := newTarBuilder()
	for _, line := range []string{
		"dir d", "owner 7:8", "mode 2775", "file d/su x", "owner 1:2", "mode 4755", "file plain x",
		"sym d/s su", "owner 9:9", "char d/null", "device 1:3", "owner 0:5", "mode 666",
	} {
		if err := b.entry(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := b.close()
	if err != nil {
		t.Fatal(err)
	}
	dirs, results, err := unpackAll(t, t.TempDir(), [][]byte{raw}, Options{IgnoreOwner: true})
	if err != nil {
		t.Fatal(err)
	}
	// A tool that keeps devices as files leaves them so.
	if err := os.WriteFile(filepath.Join(dirs[0], "tty"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(filepath.Join(dirs[0], "tty"), overrideXattr, []byte("0:5:0620:char-5-0"), 0); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	stack := []Stored{{Dir: openAll(t, dirs)[0], Skipped: results[0].Skipped}}
	if err := WriteTree(t.Context(), &out, stack, WriteOptions{OneID: true}); err != nil {
		t.Fatal(err)
	}
	got := headers(t, out.Bytes())
	for name, want := range map[string]tar.Header{
		"d/":     {Typeflag: tar.TypeDir, Uid: 7, Gid: 8, Mode: 0o2775},
		"d/su":   {Typeflag: tar.TypeReg, Uid: 1, Gid: 2, Mode: 0o4755},
		"d/s":    {Typeflag: tar.TypeSymlink, Uid: 9, Gid: 9, Mode: 0o777},
		"d/null": {Typeflag: tar.TypeChar, Uid: 0, Gid: 5, Mode: 0o666, Devmajor: 1, Devminor: 3},
		"tty":    {Typeflag: tar.TypeChar, Uid: 0, Gid: 5, Mode: 0o620, Devmajor: 5},
		"plain":  {Typeflag: tar.TypeReg, Mode: 0o644},
	} {
		h := got[name]
		if h == nil {
			t.Errorf("%s is missing", name)
			continue
		}
		if h.Typeflag != want.Typeflag || h.Uid != want.Uid || h.Gid != want.Gid || h.Mode != want.Mode || h.Devmajor != want.Devmajor || h.Devminor != want.Devminor {
			t.Errorf("%s: %+v", name, h)
		}
		if len(h.PAXRecords) > 0 && h.PAXRecords[paxXattr+overrideXattr] != "" {
			t.Errorf("%s tells how it was stored: %v", name, h.PAXRecords)
		}
	}
	// In a store with owners the attribute is a container's invention.
	out.Reset()
	if err := WriteTree(t.Context(), &out, stack, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if h := headers(t, out.Bytes())["d/su"]; h.Uid != 0 || len(h.PAXRecords) > 1 {
		t.Errorf("a forged owner is believed: %+v", h)
	}
}

// TestWriteOdd writes what is not an ordinary file.
func TestWriteOdd(t *testing.T) {
	if rerunInWorker(t, testenv.Subids, "--map-auto") {
		return
	}
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(unix.Mknod(file("socket"), unix.S_IFSOCK|0o600, 0))
	check(unix.Mknod(file("gone"), unix.S_IFCHR, 0))
	check(os.WriteFile(file("secret"), []byte("x"), 0))
	check(os.WriteFile(file("forged"), []byte("x"), 0o600))
	check(unix.Setxattr(file("forged"), "user.overlay.metacopy", nil, 0))
	check(unix.Setxattr(file("forged"), "user.overlay.overlay.opaque", []byte("y"), 0))
	check(os.MkdirAll(file("mnt/a/b"), 0o755))
	check(os.WriteFile(file("mnt/f"), nil, 0o600))
	opts := WriteOptions{MountPoints: []string{"/mnt/a/b", "/mnt/f", "/forged"}}
	write := func() (map[string]*tar.Header, error) {
		var b bytes.Buffer
		_, err := WriteChanges(t.Context(), &b, openAll(t, []string{dir})[0], nil, opts)
		return headers(t, b.Bytes()), err
	}
	got, err := write()
	check(err)
	var names []string
	for name := range got {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"./", ".wh.gone", "forged", "secret"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if h := got["forged"]; h.PAXRecords[paxXattr+"user.overlay.opaque"] != "y" || h.PAXRecords[paxXattr+"user.overlay.metacopy"] != "" {
		t.Errorf("attributes %v", h.PAXRecords)
	}
	// A name that would be a whiteout cannot be written.
	check(os.WriteFile(file(".wh.x"), nil, 0o600))
	if _, err := write(); err == nil || !strings.Contains(err.Error(), "begins with .wh.") {
		t.Errorf("got %v", err)
	}
	check(os.Remove(file(".wh.x")))
	// What a link leads to outside is not read.
	check(os.Symlink("/etc/passwd", file("link")))
	if got, err = write(); err != nil || got["link"].Typeflag != tar.TypeSymlink {
		t.Errorf("got %+v, %v", got["link"], err)
	}
}
