package seccomp

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func entry(t *testing.T, dir string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(list) != 1 {
		t.Fatalf("the cache has %q, %v", list, err)
	}
	return list[0]
}

func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "seccomp")
	c := allNamed()
	c.Flags = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog}
	want, err := Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := Cached(dir, c)
		if err != nil || !bytes.Equal(got.Program, want.Program) || got.Flags != want.Flags || got.Notify != want.Notify {
			t.Fatalf("%v, %v", got, err)
		}
	}
	file := entry(t, dir)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", st.Mode(), err)
	}
	// What is read is what was written: an entry that says something else, and
	// is right, is used.
	other, err := Compile(allowing(rules("read", specs.ActErrno)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, other.Marshal(filepath.Base(file)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := Cached(dir, c); err != nil || !bytes.Equal(got.Program, other.Program) {
		t.Errorf("the entry is not read: %v", err)
	}
	// Anything else is not.
	for name, spoil := range map[string]func() error{
		"one bit": func() error {
			bad := bytes.Clone(text)
			bad[len(bad)/2] ^= 1
			return os.WriteFile(file, bad, 0o600)
		},
		"cut short":      func() error { return os.WriteFile(file, text[:len(text)-8], 0o600) },
		"empty":          func() error { return os.WriteFile(file, nil, 0o600) },
		"another's":      func() error { return os.WriteFile(file, other.Marshal(strings.Repeat("0", 64)), 0o600) },
		"others write":   func() error { return os.Chmod(file, 0o622) },
		"a fifo":         func() error { return errAfter(os.Remove(file), func() error { return unix.Mkfifo(file, 0o600) }) },
		"a link":         func() error { return errAfter(os.Remove(file), func() error { return os.Symlink("/dev/zero", file) }) },
		"others' folder": func() error { return os.Chmod(dir, 0o755) },
		"a file as folder": func() error {
			return errAfter(os.RemoveAll(dir), func() error { return os.WriteFile(dir, nil, 0o700) })
		},
	} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Cached(dir, c); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if got, err := Cached(dir, c); err != nil || !bytes.Equal(got.Program, want.Program) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func errAfter(err error, do func() error) error {
	if err != nil {
		return err
	}
	return do()
}

// TestKeys: what makes another filter makes another key.
func TestKeys(t *testing.T) {
	one := uint(1)
	seen := map[string]int{}
	for n, c := range []*specs.LinuxSeccomp{
		refusing(), allowing(),
		{DefaultAction: specs.ActErrno},
		{DefaultAction: specs.ActErrno, DefaultErrnoRet: &one},
		{DefaultAction: specs.ActErrno, ListenerPath: "/x"},
		refusing(rules("read", specs.ActAllow)), refusing(rules("write", specs.ActAllow)),
		refusing(rules("read", specs.ActAllow), rules("write", specs.ActAllow)),
		refusing(specs.LinuxSyscall{Names: []string{"read", "write"}, Action: specs.ActAllow}),
		refusing(specs.LinuxSyscall{Names: []string{"read,write"}, Action: specs.ActAllow}),
		refusing(rules("read", specs.ActLog)),
		refusing(rules("read", specs.ActAllow, arg(0, specs.OpEqualTo, 1))),
		refusing(rules("read", specs.ActAllow, arg(1, specs.OpEqualTo, 1))),
		refusing(rules("read", specs.ActAllow, arg(0, specs.OpNotEqual, 1))),
		refusing(rules("read", specs.ActAllow, arg(0, specs.OpEqualTo, 2))),
		refusing(rules("read", specs.ActAllow, arg(0, specs.OpEqualTo, 1, 1))),
	} {
		key := keyOf(c)
		if other, ok := seen[key]; ok {
			t.Errorf("%d and %d have one key", other, n)
		}
		seen[key] = n
	}
}

func TestCacheIsBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "seccomp")
	for n := range uint64(cacheEntries + 20) {
		if _, err := Cached(dir, refusing(rules("read", specs.ActAllow, arg(0, specs.OpEqualTo, n)))); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) > cacheEntries {
		t.Errorf("%d entries, %v", len(list), err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	one, err := Compile(refusing())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one.Marshal("key"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := Unmarshal("key", b); err == nil && !bytes.Equal(g.Marshal("key"), b) {
			t.Errorf("%x", b)
		}
	})
}

func BenchmarkCached(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "seccomp")
	c := allNamed()
	for b.Loop() {
		if _, err := Cached(dir, c); err != nil {
			b.Fatal(err)
		}
	}
}
