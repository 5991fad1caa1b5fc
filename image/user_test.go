package image

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

const (
	testPasswd = `root:x:0:0:root:/root:/bin/sh
# comment
nobody
www:x:33:34:www:/var/www:/bin/sh
big:x:4294967294:100:big:/home/big:/bin/sh
over:x:4294967296:100::/:/bin/sh
minus:x:-1:0::/:/bin/sh
0:x:55:55:named zero:/zero:/bin/sh
hex:x:0x0:0::/:/bin/sh
relhome:x:77:77::home:/bin/sh
`
	testGroup = `root:x:0:
www:x:34:www
audio:x:29:www,root
video:x:44:other,www
twice:x:29:www
bad:x:-1:badmember
100:x:7:
`
)

// imageOf makes an image of a single directory with files in it.
func imageOf(t testing.TB, files map[string]string) *Image {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Image{Name: "test", Layers: []string{dir}}
}

func TestLookupUser(t *testing.T) {
	i := imageOf(t, map[string]string{"etc/passwd": testPasswd, "etc/group": testGroup})
	for in, want := range map[string]string{
		"":               "0:0 [29] /root",
		"0":              "0:0 [29] /root",
		"root":           "0:0 [29] /root",
		"www":            "33:34 [29 44] /var/www",
		"33":             "33:34 [29 44] /var/www",
		"033":            "33:34 [29 44] /var/www",
		"www:audio":      "33:29 [] /var/www",
		"www:5":          "33:5 [] /var/www",
		"33:0":           "33:0 [] /var/www",
		"1234":           "1234:0 [] /",
		"1234:www":       "1234:34 [] /",
		"1234:100":       "1234:100 [] /",
		"big":            "4294967294:100 [] /home/big",
		"2147483648":     "2147483648:0 [] /",
		"4294967294":     "4294967294:100 [] /home/big",
		"55":             "55:55 [] /zero",
		"relhome":        "77:77 [] /",
		"4294967294:www": "4294967294:34 [] /home/big",
	} {
		u, err := LookupUser(i.Open, in)
		got := fmt.Sprintf("%d:%d %v %s", u.UID, u.GID, u.Additional, u.Home)
		if err != nil || got != want {
			t.Errorf("%q: got %s, %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{
		"-1", "4294967295", "4294967296", "18446744073709551616", "0x0", "1:", ":1", ":", "1:-1", "1:4294967295", "1:0x0",
		"none", "www:none", "over", "minus", "hex", "1:2:3", " 0", "0 ", "+1", "nobody", "\x00", "#",
	} {
		if u, err := LookupUser(i.Open, in); err == nil {
			t.Errorf("%q: got %+v, want an error", in, u)
		}
	}
}

// TestLookupWithoutFiles checks images without passwd: ids work, names do not.
func TestLookupWithoutFiles(t *testing.T) {
	i := imageOf(t, map[string]string{"x": "x"})
	if u, err := LookupUser(i.Open, "7:8"); err != nil || u.UID != 7 || u.GID != 8 || u.Home != "/" {
		t.Errorf("got %+v, %v", u, err)
	}
	if u, err := LookupUser(i.Open, ""); err != nil || u.UID != 0 {
		t.Errorf("got %+v, %v", u, err)
	}
	for _, in := range []string{"root", "0:root"} {
		if u, err := LookupUser(i.Open, in); err == nil {
			t.Errorf("%s: got %+v", in, u)
		}
	}
}

// TestLookupHostile checks what an image may put at /etc/passwd: an error or
// the right answer, soon.
func TestLookupHostile(t *testing.T) {
	start := time.Now()
	for name, c := range map[string]struct {
		make func(path string) error
		ok   bool
	}{
		"fifo":          {func(p string) error { return unix.Mkfifo(p, 0o600) }, false},
		"directory":     {func(p string) error { return os.Mkdir(p, 0o700) }, false},
		"socket":        {func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) }, false},
		"device":        {func(p string) error { return os.Symlink("/dev/zero", p) }, true}, // not in the image
		"host file":     {func(p string) error { return os.Symlink("../../../../../../etc/hostname", p) }, true},
		"loop":          {func(p string) error { return os.Symlink("passwd", p) }, false},
		"5 GB":          {func(p string) error { return sparse(p, 5<<30) }, false},
		"long line":     {func(p string) error { return os.WriteFile(p, make([]byte, 1<<20), 0o600) }, false},
		"link in image": {func(p string) error { return os.Symlink("/usr/passwd", p) }, true},
		"many lines":    {func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("a:x:1:1::/:\n", 300_000)), 0o600) }, true},
	} {
		i := imageOf(t, map[string]string{"etc/group": testGroup, "usr/passwd": testPasswd})
		if err := c.make(filepath.Join(i.Layers[0], "etc", "passwd")); err != nil {
			t.Fatal(err)
		}
		u, err := LookupUser(i.Open, "33")
		if (err == nil) != c.ok || err == nil && u.UID != 33 {
			t.Errorf("%s: got %+v, %v", name, u, err)
		}
		if name == "link in image" && u.GID != 34 {
			t.Errorf("%s: got %+v", name, u)
		}
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}

func sparse(path string, size int64) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Truncate(path, size)
}

func FuzzLookupUser(f *testing.F) {
	f.Add("www:audio", testPasswd, testGroup)
	f.Fuzz(func(t *testing.T, user, passwd, group string) {
		open := func(path string) (*os.File, error) {
			file, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				return nil, err
			}
			text := passwd
			if path == "/etc/group" {
				text = group
			}
			if _, err := file.WriteAt([]byte(text), 0); err != nil {
				t.Fatal(err)
			}
			return file, nil
		}
		u, err := LookupUser(open, user)
		if err == nil && (u.UID == 1<<32-1 || u.GID == 1<<32-1 || !strings.HasPrefix(u.Home, "/")) {
			t.Errorf("got %+v", u)
		}
	})
}

func TestApply(t *testing.T) {
	created := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	i := imageOf(t, map[string]string{"etc/passwd": testPasswd, "etc/group": testGroup})
	i.Config = v1.Image{
		Created: &created, Author: "me",
		Platform: v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"},
		Config: v1.ImageConfig{
			User: "www", Env: []string{"A=1", "B=2", "HOST_SECRET", "=x", "PATH=/bin"},
			Entrypoint: []string{"/entry"}, Cmd: []string{"cmd"}, WorkingDir: "/w/../work",
			Labels: map[string]string{
				"l": "v", "org.opencontainers.image.author": "label", "run.oci.hooks": "x",
				"org.systemd.property.ExecStart": "x", "airplant.privileged": "1",
			},
			StopSignal: "SIGQUIT", ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}},
		},
	}
	spec := &specs.Spec{Process: &specs.Process{Env: []string{"TERM=xterm", "B=kept"}, Terminal: true}}
	if err := i.Apply(spec, Overrides{Env: []string{"A=3", "C=4"}}); err != nil {
		t.Fatal(err)
	}
	want := &specs.Spec{
		Process: &specs.Process{
			Terminal: true, Args: []string{"/entry", "cmd"}, Cwd: "/work",
			User: specs.User{UID: 33, GID: 34, AdditionalGids: []uint32{29, 44}},
			Env:  []string{"PATH=/bin", "HOME=/var/www", "A=3", "B=kept", "TERM=xterm", "C=4"},
		},
		Annotations: map[string]string{
			"l": "v", "org.opencontainers.image.author": "label", "org.opencontainers.image.os": "linux",
			"org.opencontainers.image.architecture": "arm", "org.opencontainers.image.variant": "v7",
			"org.opencontainers.image.created":      "2020-01-02T03:04:05.000000006Z",
			"org.opencontainers.image.stopSignal":   "SIGQUIT",
			"org.opencontainers.image.exposedPorts": "53/udp,80/tcp",
		},
	}
	if !reflect.DeepEqual(spec, want) {
		t.Errorf("got\n%+v\n%+v\nwant\n%+v\n%+v", spec.Process, spec.Annotations, want.Process, want.Annotations)
	}
}

func TestCommand(t *testing.T) {
	c := v1.ImageConfig{Entrypoint: []string{"e"}, Cmd: []string{"c"}}
	for want, o := range map[string]Overrides{
		"e c": {},
		"e x": {Args: []string{"x"}},
		"y":   {Entrypoint: []string{"y"}},
		"y x": {Entrypoint: []string{"y"}, Args: []string{"x"}},
		"x":   {Entrypoint: []string{}, Args: []string{"x"}},
		"":    {Entrypoint: []string{}},
	} {
		got, err := command(c, o)
		if strings.Join(got, " ") != want || (err != nil) != (want == "") {
			t.Errorf("%+v: got %q, %v", o, got, err)
		}
	}
	for _, c := range []struct{ image, override, want string }{
		{"", "", "/"}, {"a", "", "/a"}, {"/a", "b", "/a/b"}, {"/a", "/b", "/b"}, {"../../x", "", "/x"}, {"/a", "../../b", "/b"},
	} {
		if got, err := workingDir(c.image, c.override); err != nil || got != c.want {
			t.Errorf("%+v: got %s, %v", c, got, err)
		}
	}
}

func TestVolumes(t *testing.T) {
	i := &Image{}
	i.Config.Config.Volumes = map[string]struct{}{"/b": {}, "a/": {}, "/x/../b": {}, "/procs": {}}
	if got, err := i.Volumes(); err != nil || !reflect.DeepEqual(got, []string{"/a", "/b", "/procs"}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"/", "/proc", "/x/../proc/self", "sys", "/dev/shm", "..", "", "/a\x00b"} {
		i.Config.Config.Volumes = map[string]struct{}{bad: {}}
		if got, err := i.Volumes(); err == nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}
