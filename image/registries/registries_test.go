package registries

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// machine writes configuration files and gives the places to find them.
func machine(t *testing.T, files map[string]string) Places {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"HOME": dir + "/home"}
	return Places{Getenv: func(k string) string { return env[k] }, Etc: dir + "/etc"}
}

func TestExpand(t *testing.T) {
	p := machine(t, map[string]string{
		"etc/containers/registries.conf": `unqualified-search-registries = ["docker.io", 'quay.io'] # in order`,
		"etc/containers/registries.conf.d/000-shortnames.conf": `
[aliases]
  # centos
  "fedora" = "registry.fedoraproject.org/fedora"
  "team/tool" = "registry.example/team/tool"`,
		"home/.config/containers/registries.conf.d/own.conf": "[aliases]\nfedora = 'mine.example/fedora'\n",
		"home/.cache/containers/short-name-aliases.conf":     "[aliases]\n\"seen\" = \"quay.io/x/seen\"\n",
	})
	c, err := Load(p)
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"fedora":               "mine.example/fedora",
		"fedora:41":            "mine.example/fedora:41",
		"fedora:41@sha256:abc": "mine.example/fedora:41@sha256:abc",
		"seen":                 "quay.io/x/seen",
		"team/tool":            "registry.example/team/tool",
		"debian:12":            "docker.io/library/debian:12 quay.io/debian:12",
		"a/b":                  "docker.io/a/b quay.io/a/b",
		"quay.io/fedora":       "quay.io/fedora",
		"localhost/fedora":     "localhost/fedora",
		"host:5000/fedora":     "host:5000/fedora",
		"oci:fedora":           "oci:fedora",
		"":                     "",
	} {
		if got := strings.Join(c.Expand(in), " "); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	none, err := Load(machine(t, nil))
	if err != nil || strings.Join(none.Expand("debian"), " ") != "debian" {
		t.Errorf("without files: %v, %v", none.Expand("debian"), err)
	}
}

func TestEndpoints(t *testing.T) {
	p := machine(t, map[string]string{
		"etc/containers/registries.conf": `
[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.example:5000/hub"
insecure = true
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"

[[registry]]
location = "lab.example"
insecure = true

[[registry]]
prefix = "old.example/team"
location = "new.example/group"

[[registry]]
prefix = "*.evil.example"
blocked = true
`,
		"etc/containers/certs.d/lab.example/ca.crt":    "x",
		"home/.docker/certs.d/lab.example/client.cert": "x",
		"home/.docker/certs.d/lab.example/client.key":  "x",
		"etc/containerd/certs.d/k8s.example/hosts.toml": `
server = "https://registry.k8s.example"
[host."http://b.example:80"]
  capabilities = ["pull", "resolve"]
[host."https://a.example/prefix"]
  ca = "a.pem"
  client = [["a.cert", "/a.key"]]
  skip_verify = true
  [host."https://a.example/prefix".header]
    x-team = ["one"]
[host."https://push.example"]
  capabilities = ["push"]
[host."https://c.example/exact"]
  override_path = true
`,
	})
	c, err := Load(p)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(p.Etc)
	for name, want := range map[string][]Endpoint{
		"docker.io library/debian": {
			{Host: "mirror.example:5000", Repository: "hub/library/debian", Insecure: true, Mirror: true},
			{Host: "digests.example", Repository: "library/debian", Mirror: true, Only: "digest-only"},
			{Host: "registry-1.docker.io", Repository: "library/debian"},
		},
		"lab.example a": {{
			Host: "lab.example", Repository: "a", Insecure: true, CAs: []string{p.Etc + "/containers/certs.d/lab.example/ca.crt"},
			Pairs: [][2]string{{dir + "/home/.docker/certs.d/lab.example/client.cert", dir + "/home/.docker/certs.d/lab.example/client.key"}},
		}},
		"old.example team/a":  {{Host: "new.example", Repository: "group/a"}},
		"old.example teams/a": {{Host: "old.example", Repository: "teams/a"}},
		"evil.example a":      {{Host: "evil.example", Repository: "a"}},
		"k8s.example pause": {
			{Host: "b.example:80", Repository: "pause", Scheme: "http", Path: "/v2", Mirror: true},
			{
				Host: "a.example", Repository: "pause", Scheme: "https", Path: "/prefix/v2", Mirror: true, Insecure: true,
				CAs: []string{p.Etc + "/containerd/certs.d/k8s.example/a.pem"}, Header: map[string][]string{"x-team": {"one"}},
				Pairs: [][2]string{{p.Etc + "/containerd/certs.d/k8s.example/a.cert", "/a.key"}},
			},
			{Host: "c.example", Repository: "pause", Scheme: "https", Path: "/exact", Mirror: true},
			{Host: "registry.k8s.example", Repository: "pause", Scheme: "https", Path: "/v2"},
		},
	} {
		host, repository, _ := strings.Cut(name, " ")
		got, err := c.Endpoints(p, host, repository)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", name, got, err, want)
		}
	}
	if _, err := c.Endpoints(p, "x.evil.example", "a"); err == nil {
		t.Error("a blocked registry was let through")
	}
}

func TestLoadErrors(t *testing.T) {
	for text, want := range map[string]string{
		"[registries.search]\nregistries = ['a']": "version 1",
		"a = ":                          "line 1",
		"a = 1\na = 2":                  "twice",
		"[[registry]]\ninsecure = true": "neither prefix nor location",
		"a = \"x":                       "without end",
		"a = [1, 2":                     "]",
		"x = 1\n[x.y]":                  "no table",
	} {
		_, err := Load(machine(t, map[string]string{"etc/containers/registries.conf": text}))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "registries.conf") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestParseTOML(t *testing.T) {
	got, err := parseTOML("a.b = 1\n'c d' = [ 'x', # one\n \"\\u0041\\n\", ]\n[t]\nok = true\nin = { k = 'v', l = [[1],[2]] }\n[[l]]\nn=1\n[[l]]\nn=2\n[l.sub]\nm=3\n")
	want := table{
		"a": table{"b": int64(1)}, "c d": []any{"x", "A\n"},
		"t": table{"ok": true, "in": table{"k": "v", "l": []any{[]any{int64(1)}, []any{int64(2)}}}},
		"l": []any{table{"n": int64(1)}, table{"n": int64(2), "sub": table{"m": int64(3)}}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
}

func FuzzParseTOML(f *testing.F) {
	f.Add("[a]\nb = [{c = 'd'}]\n[[e]]\nf=\"\\u0041\"")
	f.Add(strings.Repeat("a = [", 100))
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := parseTOML(text); (v == nil) == (err == nil) {
			t.Errorf("%q: %v, %v", text, v, err)
		}
	})
}
