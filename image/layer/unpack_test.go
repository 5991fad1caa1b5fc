package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"airplant/internal/testenv"

	"golang.org/x/sys/unix"
)

// TestSkipped checks that what a directory cannot express is told.
func TestSkipped(t *testing.T) {
	if rerunInWorker(t, testenv.Subids, "--map-auto") {
		return
	}
	c := oneCase(t, "rules/devices-are-left-out")
	_, results, err := unpackAll(t, t.TempDir(), c.layers, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Skip{
		{Path: "null", Reason: "device", Type: "char", Major: 1, Minor: 3, Mode: 0o644},
		{Path: "dev/tty", Reason: "device", Type: "char", Major: 5, Mode: 0o644},
		{Path: "dev/sda", Reason: "device", Type: "block", Major: 8, Mode: 0o644},
	}
	if got := results[1].Skipped; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func oneCase(t testing.TB, name string) corpusCase {
	t.Helper()
	for _, c := range corpus(t) {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no case %s", name)
	return corpusCase{}
}

// TestOneID unpacks with a single id: foreign owners are an error, or are
// recorded.
func TestOneID(t *testing.T) {
	if rerunInWorker(t, testenv.Plain) {
		return
	}
	c := oneCase(t, "rules/setuid-after-chown")
	_, _, err := unpackAll(t, t.TempDir(), c.layers, Options{})
	var unmapped *UnmappedError
	if !errors.As(err, &unmapped) || unmapped.UID != 1 || unmapped.GID != 1 || unmapped.Path != "su" {
		t.Errorf("got %v, want an UnmappedError of 1:1", err)
	}
	c = parseCase(t, `
case owners
layer
file f x
    owner 5:6
    mode 2755
dir d
    owner 7:8
sym s f
    owner 9:9
file root x
`)
	dirs, results, err := unpackAll(t, t.TempDir(), c.layers, Options{IgnoreOwner: true})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, dump(t, dirs[0]), []string{
		`d dir 755 0:0 user.containers.override_stat="7:8:0755"`,
		`f file 2755 0:0 "x" user.containers.override_stat="5:6:02755"`,
		`root file 644 0:0 "x"`,
		`s sym 0:0 -> f`,
	})
	want := []Skip{{Path: "s", Reason: "owner", Mode: 0o644, UID: 9, GID: 9}}
	if !reflect.DeepEqual(results[0].Skipped, want) {
		t.Errorf("got %+v, want %+v", results[0].Skipped, want)
	}
}

func parseCase(t *testing.T, text string) corpusCase {
	t.Helper()
	list, err := parseCases("", text)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// TestSparse unpacks a file of 1 GiB that is nearly all hole.
func TestSparse(t *testing.T) {
	if rerunInWorker(t, testenv.Subids, "--map-auto") {
		return
	}
	testenv.Need(t, "tar")
	for _, format := range []string{"gnu", "pax"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "f")
		writeAt(t, file, 512<<20, "middle")
		writeAt(t, file, 1<<30-3, "end")
		cmd := exec.CommandContext(t.Context(), "tar", "-S", "--format="+format, "-C", dir, "-cf", filepath.Join(dir, "x.tar"), "f")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		raw, err := os.ReadFile(filepath.Join(dir, "x.tar"))
		if err != nil {
			t.Fatal(err)
		}
		dirs, results, err := unpackAll(t, dir, [][]byte{raw}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dirs[0], "f"), &st); err != nil {
			t.Fatal(err)
		}
		if st.Size != 1<<30 || st.Blocks*512 > 1<<20 || results[0].Bytes != 1<<30 {
			t.Errorf("%s: %d bytes in %d blocks", format, st.Size, st.Blocks)
		}
		checkAt(t, filepath.Join(dirs[0], "f"), 512<<20, "middle")
		checkAt(t, filepath.Join(dirs[0], "f"), 1<<30-3, "end")
	}
}

func checkAt(t *testing.T, path string, off int64, want string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, off); err != nil || string(got) != want {
		t.Errorf("at %d: %q, %v", off, got, err)
	}
}

func writeAt(t *testing.T, path string, off int64, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), off); err != nil {
		t.Fatal(err)
	}
}

// TestLimits checks that what is too large is refused in time.
func TestLimits(t *testing.T) {
	if rerunInWorker(t, testenv.Subids, "--map-auto") {
		return
	}
	header := func(h tar.Header) io.Reader {
		var b bytes.Buffer
		if err := tar.NewWriter(&b).WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	var pax bytes.Buffer
	if _, err := io.Copy(&pax, header(tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: 1 << 30})); err != nil {
		t.Fatal(err)
	}
	// Make an extended header of it: the type, and so the checksum, differ.
	block, sum := pax.Bytes(), 0
	block[156] = tar.TypeXHeader
	copy(block[148:156], "        ")
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	for name, r := range map[string]io.Reader{
		"depth":      header(tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("a/", MaxDepth+1) + "f"}),
		"path":       header(tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("a/", 2100) + "f"}),
		"file":       header(tar.Header{Typeflag: tar.TypeReg, Name: "f", Size: MaxBytes + 1, Format: tar.FormatPAX}),
		"directory":  header(tar.Header{Typeflag: tar.TypeDir, Name: strings.Repeat("a/", MaxDepth+1)}),
		"pax header": &pax,
	} {
		err := unpackOne(t, t.Context(), io.MultiReader(r, zeros{}))
		if !errors.Is(err, ErrLimit) && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func unpackOne(t testing.TB, ctx context.Context, r io.Reader) error {
	t.Helper()
	root, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	p, err := Unpack(ctx, root, r, Options{})
	if err != nil {
		return err
	}
	_, err = p.Finish(nil)
	return err
}

// TestCancel checks that a cancelled context ends an endless layer.
func TestCancel(t *testing.T) {
	if rerunInWorker(t, testenv.Subids, "--map-auto") {
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	go func() {
		tw := tar.NewWriter(w)
		for i := 0; ; i++ {
			if i == 100 {
				cancel()
			}
			if tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprint("f", i)}) != nil {
				return
			}
		}
	}()
	err := unpackOne(t, ctx, r)
	r.Close()
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestTruncated cuts a layer: there is an error, or what was unpacked is part
// of the whole, never a file with a part of its content. (archive/tar takes a
// cut between entries for the end; the digests do not.)
func TestTruncated(t *testing.T) {
	if rerunInWorker(t, testenv.Subids, "--map-auto") {
		return
	}
	raw := oneCase(t, "rules/files").layers[0]
	dirs, _, err := unpackAll(t, t.TempDir(), [][]byte{raw}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	whole := dump(t, dirs[0])
	refused := 0
	for n := 0; n < len(raw); n += 7 {
		dirs, _, err := unpackAll(t, t.TempDir(), [][]byte{raw[:n]}, Options{})
		if err != nil {
			refused++
			continue
		}
		for _, line := range dump(t, dirs[0]) {
			if !slices.Contains(whole, line) {
				t.Errorf("cut at %d: %s", n, line)
			}
		}
	}
	if refused == 0 {
		t.Error("no cut was noticed")
	}
}
