package landlock

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const all = `{"fs": [{"paths": ["/usr", "/bin/sh"], "access": "rx"}, {"paths": ["/data"], "access": "rw"}, {"paths": ["/dev"], "access": "d"}],
	"bind": [80], "connect": [], "scope": ["signal", "abstract-unix-socket"]}`

// TestEnforce has every version of the interface. What is wanted never grows
// less restricted without being said.
func TestEnforce(t *testing.T) {
	r, err := Parse(all)
	if err != nil {
		t.Fatal(err)
	}
	for abi, want := range []struct {
		fs, net, scoped uint64
		paths, ports    int
		size            int
		missing         string
	}{
		{0, 0, 0, 0, 0, 8, "access to files; TCP ports; the scope signal; the scope abstract-unix-socket"},
		{0x1fff, 0, 0, 3, 0, 8, "truncating files; control of devices; TCP ports; the scope signal; the scope abstract-unix-socket"},
		{0x3fff, 0, 0, 3, 0, 8, "truncating files; control of devices; TCP ports; the scope signal; the scope abstract-unix-socket"},
		{0x7fff, 0, 0, 3, 0, 8, "control of devices; TCP ports; the scope signal; the scope abstract-unix-socket"},
		{0x7fff, 3, 0, 3, 1, 16, "control of devices; the scope signal; the scope abstract-unix-socket"},
		{0xffff, 3, 0, 4, 1, 16, "the scope signal; the scope abstract-unix-socket"},
		{0xffff, 3, 3, 4, 1, 24, ""},
		{0xffff, 3, 3, 4, 1, 24, ""},
	} {
		s, missing := Enforce(r, abi)
		var said []string
		for _, m := range missing {
			what, _, _ := strings.Cut(m, ", which takes Linux ")
			said = append(said, what)
		}
		if s.FS != want.fs || s.Net != want.net || s.Scoped != want.scoped || len(s.Paths) != want.paths || len(s.Ports) != want.ports ||
			len(s.Attr()) != want.size || strings.Join(said, "; ") != want.missing || s.Empty() != (abi == 0) {
			t.Errorf("version %d: %+v, %v", abi, s, missing)
		}
		for _, p := range s.Paths {
			if p.Dir&^s.FS != 0 || p.File&^p.Dir != 0 || p.File&unix.LANDLOCK_ACCESS_FS_READ_DIR != 0 {
				t.Errorf("version %d: %+v", abi, p)
			}
		}
	}
}

// TestNothingWanted: what is not named is not restricted, and what is named
// without rules is denied.
func TestNothingWanted(t *testing.T) {
	for text, want := range map[string]Ruleset{
		`{"fs": []}`:                       {FS: 0xffff, abi: 7},
		`{"connect": []}`:                  {Net: unix.LANDLOCK_ACCESS_NET_CONNECT_TCP, abi: 7},
		`{"bind": [1], "mode":"required"}`: {Net: unix.LANDLOCK_ACCESS_NET_BIND_TCP, Ports: []Port{{1, unix.LANDLOCK_ACCESS_NET_BIND_TCP}}, abi: 7},
		`{"scope": ["signal"]}`:            {Scoped: unix.LANDLOCK_SCOPE_SIGNAL, abi: 7},
	} {
		r, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if s, missing := Enforce(r, 7); !reflect.DeepEqual(s, want) || len(missing) > 0 {
			t.Errorf("%s: %+v, %v", text, s, missing)
		}
	}
}

// TestWrongRules: each with a part of its error.
func TestWrongRules(t *testing.T) {
	for text, want := range map[string]string{
		``:                         "annotation org.airplant.landlock: ",
		`{}`:                       "no rules",
		`{"mode":"required"}`:      "no rules",
		`{"fs": null}`:             "no rules",
		`{"fs": [], "mode": "no"}`: "neither best-effort nor required",
		`{"fs": [{"paths": ["/x"], "access": "q"}]}`:          "none of r, w, x and d",
		`{"fs": [{"paths": ["x"], "access": "r"}]}`:           "not absolute",
		`{"fs": [{"paths": ["/x\u0000y"], "access": "r"}]}`:   "not absolute",
		`{"fs": [{"paths": [], "access": "r"}]}`:              "needs paths",
		`{"fs": [{"paths": ["/x"]}]}`:                         "needs paths",
		`{"fs": [{"path": "/x", "access": "r"}]}`:             "path",
		`{"bind": [65536]}`:                                   "65536",
		`{"bind": ["80"]}`:                                    "string",
		`{"connect": [1], "connect": [2]}`:                    "duplicate",
		`{"scope": ["network"]}`:                              "neither abstract-unix-socket",
		`{"conect": [1]}`:                                     "conect",
		`{"fs": []} {"fs": [{"paths":["/"],"access":"rwx"}]}`: "after top-level",
	} {
		if r, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v, want %q", text, r, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(all)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		for abi := range 8 {
			if s, missing := Enforce(r, abi); s.Empty() && len(missing) == 0 {
				t.Errorf("version %d: nothing is enforced, and nothing said, of %s", abi, text)
			}
		}
	})
}
