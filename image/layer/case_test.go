package layer

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// corpusCase is a file of testdata/layers: layers from the bottom to the top,
// and what they must give.
type corpusCase struct {
	name   string
	layers [][]byte // tars
	tree   []string // lines as dump writes them
	errs   []string // what the error must contain
	umoci  bool     // umoci must unpack the same
}

const corpusDir = "../../testdata/layers"

func corpus(t testing.TB) []corpusCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(corpusDir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", corpusDir, err)
	}
	var list []corpusCase
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := parseCases(strings.TrimSuffix(filepath.Base(f), ".txt"), string(text))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		list = append(list, cases...)
	}
	return list
}

// parseCases reads the format that testdata/layers/README.md describes.
func parseCases(file, text string) ([]corpusCase, error) {
	var list []corpusCase
	var c *corpusCase
	var b *tarBuilder
	section := ""
	finish := func() error {
		if b == nil {
			return nil
		}
		raw, err := b.close()
		c.layers = append(c.layers, raw)
		b = nil
		return err
	}
	for i, line := range strings.Split(text, "\n") {
		f, err := fields(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if len(f) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		switch {
		case f[0] == "case" || f[0] == "layer" || f[0] == "tree" || f[0] == "error":
			if err := finish(); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			section = f[0]
			switch section {
			case "case":
				list = append(list, corpusCase{name: file + "/" + f[1], umoci: len(f) > 2 && f[2] == "umoci"})
				c = &list[len(list)-1]
			case "layer":
				b = newTarBuilder()
			case "error":
				c.errs = append(c.errs, strings.TrimPrefix(line, "error "))
			}
		case section == "layer":
			if err := b.entry(f); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
		case section == "tree":
			c.tree = append(c.tree, strings.Join(strings.Fields(line), " "))
		}
	}
	return list, finish()
}

// fields splits a line at spaces; a field in quotes has Go's escapes.
func fields(line string) ([]string, error) {
	var list []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] != '"' {
			f, rest, _ := strings.Cut(line, " ")
			list, line = append(list, f), rest
			continue
		}
		q, err := strconv.QuotedPrefix(line)
		if err != nil {
			return nil, err
		}
		f, err := strconv.Unquote(q)
		if err != nil {
			return nil, err
		}
		list, line = append(list, f), line[len(q):]
	}
	return list, nil
}

type tarBuilder struct {
	buf bytes.Buffer
	tw  *tar.Writer
	h   *tar.Header
	b   []byte
}

func newTarBuilder() *tarBuilder {
	b := &tarBuilder{}
	b.tw = tar.NewWriter(&b.buf)
	return b
}

var types = map[string]byte{
	"dir": tar.TypeDir, "file": tar.TypeReg, "sym": tar.TypeSymlink, "link": tar.TypeLink,
	"fifo": tar.TypeFifo, "char": tar.TypeChar, "block": tar.TypeBlock, "odd": 'Q',
}

// caseTime is the time of every entry that says nothing else.
var caseTime = time.Date(2020, 1, 2, 3, 4, 5, 123456789, time.UTC)

// entry adds an entry, or a detail of the last one.
func (b *tarBuilder) entry(f []string) error {
	switch f[0] {
	case "xattr":
		b.h.PAXRecords["SCHILY.xattr."+f[1]] = f[2]
		return nil
	case "mtime":
		n, err := strconv.ParseInt(f[1], 10, 64)
		b.h.ModTime = time.Unix(n, 987654321)
		return err
	case "owner":
		_, err := fmt.Sscanf(f[1], "%d:%d", &b.h.Uid, &b.h.Gid)
		return err
	case "mode":
		n, err := strconv.ParseInt(f[1], 8, 32)
		b.h.Mode = n
		return err
	case "device":
		_, err := fmt.Sscanf(f[1], "%d:%d", &b.h.Devmajor, &b.h.Devminor)
		return err
	}
	typ, ok := types[f[0]]
	if !ok || len(f) < 2 {
		return fmt.Errorf("entry %q", f)
	}
	if err := b.flush(); err != nil {
		return err
	}
	b.h = &tar.Header{
		Typeflag: typ, Name: f[1], Mode: 0o644, ModTime: caseTime, Format: tar.FormatPAX,
		PAXRecords: map[string]string{},
	}
	if typ == tar.TypeDir {
		b.h.Mode = 0o755
	}
	if len(f) > 2 {
		switch typ {
		case tar.TypeSymlink, tar.TypeLink:
			b.h.Linkname = f[2]
		default:
			b.b = []byte(f[2])
		}
	}
	return nil
}

func (b *tarBuilder) flush() error {
	if b.h == nil {
		return nil
	}
	b.h.Size = int64(len(b.b))
	if err := b.tw.WriteHeader(b.h); err != nil {
		return err
	}
	_, err := b.tw.Write(b.b)
	b.h, b.b = nil, nil
	return err
}

func (b *tarBuilder) close() ([]byte, error) {
	if err := b.flush(); err != nil {
		return nil, err
	}
	err := b.tw.Close()
	return b.buf.Bytes(), err
}

// unpackAll unpacks a stack below dir and returns the directories, top first.
// Descriptors are not left open, whatever happens.
func unpackAll(t testing.TB, dir string, layers [][]byte, opts Options) ([]string, []Result, error) {
	t.Helper()
	var dirs []string
	var results []Result
	for i, raw := range layers {
		d := filepath.Join(dir, strconv.Itoa(i), "diff")
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := os.Open(d)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Unpack(t.Context(), root, bytes.NewReader(raw), opts)
		root.Close()
		if err != nil {
			return dirs, results, err
		}
		var lowers []*os.File
		for _, l := range dirs {
			f, err := os.Open(l)
			if err != nil {
				t.Fatal(err)
			}
			lowers = append(lowers, f)
		}
		r, err := p.Finish(lowers)
		for _, f := range lowers {
			f.Close()
		}
		if err != nil {
			return dirs, results, err
		}
		dirs = append([]string{d}, dirs...)
		results = append(results, r)
	}
	return dirs, results, nil
}

// mergeOverlay mounts the stack as a container would see it.
func mergeOverlay(t testing.TB, dirs []string) string {
	t.Helper()
	base := t.TempDir()
	empty, at := filepath.Join(base, "empty"), filepath.Join(base, "merged")
	for _, d := range []string{empty, at} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	opts := "userxattr,lowerdir=" + strings.Join(append(append([]string{}, dirs...), empty), ":")
	if err := unix.Mount("overlay", at, "overlay", unix.MS_RDONLY, opts); err != nil {
		t.Fatalf("mount overlay: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return at
}

// dump writes a line an entry: path, type and mode, owner, then what is
// particular: content, target, times other than caseTime, attributes, and the
// first path of the same inode.
func dump(t testing.TB, root string) []string {
	t.Helper()
	var lines []string
	inodes := map[uint64]string{}
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if rel == "." {
			return nil
		}
		line, err := dumpEntry(path, rel, inodes)
		lines = append(lines, line)
		return err
	})
	if err != nil {
		t.Fatalf("list %s: %v", root, err)
	}
	return lines
}

func dumpEntry(path, rel string, inodes map[uint64]string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	kind := map[uint32]string{
		unix.S_IFDIR: "dir", unix.S_IFREG: "file", unix.S_IFLNK: "sym", unix.S_IFIFO: "fifo", unix.S_IFCHR: "char",
	}[st.Mode&unix.S_IFMT]
	line := fmt.Sprintf("%s %s", name(rel), kind)
	if kind != "sym" {
		line += fmt.Sprintf(" %o", st.Mode&0o7777)
	}
	line += fmt.Sprintf(" %d:%d", st.Uid, st.Gid)
	switch kind {
	case "sym":
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		line += " -> " + name(target)
	case "file":
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" %.40q", text)
	}
	if got := time.Unix(st.Mtim.Unix()); !got.Equal(caseTime) {
		line += fmt.Sprintf(" mtime=%d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
	}
	line += dumpXattrs(path)
	if first, ok := inodes[st.Ino]; ok && st.Nlink > 1 && kind != "dir" {
		return line + " = " + name(first), nil
	}
	inodes[st.Ino] = rel
	return line, nil
}

func name(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` || strings.Contains(s, " ") {
		return q
	}
	return s
}

func dumpXattrs(path string) string {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return ""
	}
	out := ""
	for _, k := range strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if k == "" || k == "security.selinux" {
			continue
		}
		v := make([]byte, 4096)
		m, err := unix.Lgetxattr(path, k, v)
		if err != nil {
			continue
		}
		out += fmt.Sprintf(" %s=%q", k, v[:m])
	}
	return out
}
