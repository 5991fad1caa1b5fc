package rdt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// fake is a directory in place of resctrl. The files of a class, which the
// kernel makes with it, have to be there before.
func fake(t *testing.T, classes ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, c := range classes {
		class(t, filepath.Join(root, c), "    L3:0=00ff;1=0F\n    MB:0= 70;1=100\n")
	}
	return root
}

func class(t *testing.T, dir, schemata string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "mon_groups"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"schemata": schemata, "tasks": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestClassThatIsThere(t *testing.T) {
	root := fake(t, "gold")
	for _, c := range []specs.LinuxIntelRdt{
		{ClosID: "gold"},
		{ClosID: "gold", L3CacheSchema: "L3:1=f;0=ff"},
		{ClosID: "gold", Schemata: []string{"MB:0=70;1=100", "L3:0=FF;1=f"}},
	} {
		g, err := FS{Dir: root}.Enter("c", 42, &c)
		if err != nil || len(g.Made) != 0 || read(t, root, "gold", "tasks") != "42" {
			t.Errorf("%+v: %+v, %v", c, g, err)
		}
	}
	before := read(t, root, "gold", "schemata")
	if _, err := (FS{Dir: root}).Enter("c", 42, &specs.LinuxIntelRdt{ClosID: "gold", MemBwSchema: "MB:0=71;1=100"}); err == nil || !strings.Contains(err.Error(), "is not changed to MB:0=71") {
		t.Errorf("another schema: %v", err)
	}
	if read(t, root, "gold", "schemata") != before {
		t.Error("the class was changed")
	}
}

func TestClassThatIsMissing(t *testing.T) {
	root := fake(t)
	_, err := FS{Dir: root}.Enter("c", 42, &specs.LinuxIntelRdt{ClosID: "gold"})
	if err == nil || !strings.Contains(err.Error(), `closID "gold": there is no such class`) {
		t.Errorf("%v", err)
	}
	// A plain directory gets no files of a class, so the write fails, and
	// nothing may be left.
	_, err = FS{Dir: root}.Enter("c", 42, &specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f"})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestMonitoring(t *testing.T) {
	root := fake(t, "gold")
	_, err := FS{Dir: root}.Enter("c", 42, &specs.LinuxIntelRdt{ClosID: "gold", EnableMonitoring: true})
	if !errors.Is(err, fs.ErrNotExist) { // as above
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(filepath.Join(root, "gold", "mon_groups")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(root, "gold")); err != nil {
		t.Error("the class of somebody else is gone")
	}
}

// TestNewClass has a directory that gets its files as the kernel makes them.
func TestNewClass(t *testing.T) {
	root := fake(t)
	f := FS{Dir: root, made: func(dir string) { class(t, dir, "") }}
	g, err := f.Enter("c", 42, &specs.LinuxIntelRdt{L3CacheSchema: "L3:0=f", MemBwSchema: "MB:0=70", EnableMonitoring: true})
	if err != nil || len(g.Made) != 2 {
		t.Fatalf("%+v, %v", g, err)
	}
	for name, want := range map[string]string{"c/schemata": "L3:0=f\nMB:0=70\n", "c/tasks": "42", "c/mon_groups/c/tasks": "42"} {
		if got := read(t, root, name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	g, err = f.Enter("d", 43, &specs.LinuxIntelRdt{ClosID: "silver", Schemata: []string{"MB:0=10"}})
	if err != nil || len(g.Made) != 1 || read(t, root, "silver/schemata") != "MB:0=10\n" {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestRemove(t *testing.T) {
	root := fake(t)
	outer, inner := filepath.Join(root, "c"), filepath.Join(root, "c", "m")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	g := Group{Made: []string{outer, inner}}
	for range 2 { // the second finds nothing, which is no error
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(outer); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestNames: what would leave the directory, or be none of its classes.
func TestNames(t *testing.T) {
	for _, id := range []string{"..", ".", "a/b", "../x", "/etc", "info", "mon_groups", "a\x00b"} {
		if err := Check(&specs.LinuxIntelRdt{ClosID: id}); err == nil {
			t.Errorf("closID %q is taken", id)
		}
	}
	for _, c := range []specs.LinuxIntelRdt{
		{Schemata: []string{"L3:0=f"}, L3CacheSchema: "L3:0=f"},
		{L3CacheSchema: "L3:0=f\nMB:0=1"},
		{MemBwSchema: "70"},
	} {
		if err := Check(&c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	if err := Check(&specs.LinuxIntelRdt{ClosID: "gold-1", Schemata: []string{"L3:0=f", "MB:0=70"}}); err != nil {
		t.Error(err)
	}
}
