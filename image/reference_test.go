package image

import (
	"strings"
	"testing"
)

func TestParseReference(t *testing.T) {
	const hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for in, want := range map[string]string{
		"alpine":                        "docker.io/library/alpine:latest",
		"alpine:3":                      "docker.io/library/alpine:3",
		"docker://alpine:3":             "docker.io/library/alpine:3",
		"docker.io/alpine":              "docker.io/library/alpine:latest",
		"index.docker.io/library/a":     "docker.io/library/a:latest",
		"user/app":                      "docker.io/user/app:latest",
		"localhost/a":                   "localhost/a:latest",
		"localhost:5000/a/b:v1":         "localhost:5000/a/b:v1",
		"127.0.0.1:5000/a":              "127.0.0.1:5000/a:latest",
		"[::1]:5000/a":                  "[::1]:5000/a:latest",
		"[::1]/a":                       "[::1]/a:latest",
		"ghcr.io/a/b-c_d.e__f:x":        "ghcr.io/a/b-c_d.e__f:x",
		"host:5000/a/b@sha256:" + hex:   "host:5000/a/b@sha256:" + hex,
		"alpine:3@sha256:" + hex:        "docker.io/library/alpine@sha256:" + hex,
		"Host/a":                        "Host/a:latest",
		"oci:dir":                       "oci:dir",
		"oci:/a/b/:tag":                 "oci:/a/b:tag",
		"oci:dir:name:with/colons":      "oci:dir:name:with/colons",
		"oci-archive:/x/y.tar":          "oci-archive:/x/y.tar",
		"oci-archive:y.tar:docker.io/":  "oci-archive:y.tar:docker.io/",
		"a:" + strings.Repeat("t", 128): "docker.io/library/a:" + strings.Repeat("t", 128),
	} {
		r, err := ParseReference(in)
		if err != nil || r.String() != want {
			t.Errorf("%s: got %s, %v, want %s", in, r, err, want)
		}
	}
	for _, in := range []string{
		"", " ", "a b", "Alpine", "a:", "a:b:c", "a@", "a@sha256:12", "a@md5:" + hex, "a@sha512:" + hex,
		"a@sha256:" + strings.ToUpper(hex), "a@sha256:../../../../../../../../../../../../../../../etc/passwd",
		"/a", "a/", "a//b", "../a", "a/../b", "-a", "a-", "a___b", "a..b", "a:-x", "a:" + strings.Repeat("t", 129),
		hex, "host:x/a", "host:123456/a", "[::1/a", "[]/a", "[::1]x/a", "-h.com/a", "h..com/a",
		"oci:", "oci::tag", "oci:dir:", "oci:a\nb", "oci-archive:", "docker-archive:x.tar", "dir:x", "https://x.y/z",
		strings.Repeat("a/", 200) + "a", "a\x00b", "a@b@c", "ä",
	} {
		if r, err := ParseReference(in); err == nil {
			t.Errorf("%q: got %s, want an error", in, r)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"alpine", "localhost:5000/a/b:v1", "oci:dir:tag", "[::1]:1/a@sha256:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			if !strings.Contains(err.Error(), "parse reference") {
				t.Errorf("error %v", err)
			}
			return
		}
		again, err := ParseReference(r.String())
		if err != nil || again.String() != r.String() {
			t.Errorf("%q is %s, which parses to %s, %v", s, r, again, err)
		}
		if r.Transport == Registry && strings.ContainsAny(r.String(), "\n\r\x00 ?#%") {
			t.Errorf("%q is accepted as %q", s, r)
		}
		if file := recordFile(r.String(), HostPlatform()); strings.ContainsAny(file, "/\x00") || len(file) > 255 {
			t.Errorf("%q has the record %q", s, file)
		}
	})
}
