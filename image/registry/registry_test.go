package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const blobText = "blob"

// server is a registry with one repository, a/b.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // path and Authorization
	handle   func(w http.ResponseWriter, r *http.Request) bool
}

func newServer(t *testing.T, handle func(w http.ResponseWriter, r *http.Request) bool) *server {
	s := &server{handle: handle}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.URL.Path+" "+r.Header.Get("Authorization"))
		s.mu.Unlock()
		if s.handle != nil && s.handle(w, r) {
			return
		}
		switch {
		case r.URL.Path == "/v2/a/b/manifests/tag":
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")
			io.WriteString(w, "{}")
		case r.URL.Path == "/v2/a/b/blobs/"+digest.FromString(blobText).String():
			io.WriteString(w, blobText)
		default:
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no\u001b[31m such"}]}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func blobDescriptor() v1.Descriptor {
	return v1.Descriptor{Digest: digest.FromString(blobText), Size: int64(len(blobText))}
}

func (s *server) host() string { return strings.TrimPrefix(s.URL, "http://") }

func (s *server) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.requests, "\n")
}

func client(t *testing.T, c Credential) *Client {
	cl := New(func(string, string) (Credential, error) { return c, nil })
	cl.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	t.Cleanup(cl.Close)
	return cl
}

var secret = Credential{Username: "user", Password: "pass:word"}

func basicHeader(c Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}

func TestAnonymous(t *testing.T) {
	s := newServer(t, nil)
	r := client(t, Credential{}).Repository(s.host(), "a/b")
	text, mediaType, err := r.Manifest(t.Context(), "tag", []string{"x/y", "z"})
	if err != nil || string(text) != "{}" || mediaType != "application/vnd.oci.image.manifest.v1+json" {
		t.Errorf("got %q, %q, %v", text, mediaType, err)
	}
	rc, err := r.Blob(t.Context(), blobDescriptor(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if b, err := io.ReadAll(rc); err != nil || string(b) != blobText {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := r.Blob(t.Context(), v1.Descriptor{Digest: "sha256:../.."}, 0); err == nil {
		t.Error("a digest that is a path was asked for")
	}
}

func TestStatus(t *testing.T) {
	s := newServer(t, nil)
	r := client(t, Credential{}).Repository(s.host(), "a/b")
	_, _, err := r.Manifest(t.Context(), "none", nil)
	var status *StatusError
	if !errors.As(err, &status) || status.Code != 404 || status.Message != "manifest_unknown: no [31m such" {
		t.Errorf("got %v", err)
	}
	s.handle = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "17")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	_, _, err = r.Manifest(t.Context(), "tag", nil)
	if !errors.As(err, &status) || status.Code != 429 || !strings.Contains(status.Hint(), "pull again in 17s") {
		t.Errorf("got %v", err)
	}
	s.handle = func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.CopyN(w, zeros{}, MaxManifest+1)
		return true
	}
	if _, _, err = r.Manifest(t.Context(), "tag", nil); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("got %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	_, _, err = client(t, Credential{}).Repository(host, "a/b").Manifest(t.Context(), "tag", nil)
	var unreachable *UnreachableError
	if !errors.As(err, &unreachable) || unreachable.Host != host {
		t.Errorf("got %v", err)
	}
}

// tokenFlow is a registry that asks for tokens, and their server.
func tokenFlow(t *testing.T, needBasic bool) (registry, tokens *server) {
	tokens = newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if needBasic && r.Header.Get("Authorization") != basicHeader(secret) {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		q := r.URL.Query()
		if q.Get("scope") != "repository:a/b:pull" || q.Get("service") != "the, registry" || q.Get("kept") != "1" {
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		fmt.Fprint(w, `{"access_token":"T0KEN"}`)
		return true
	})
	registry = newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer T0KEN" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokens.URL+`/token?kept=1",service="the, registry",scope="repository:other:push"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	return registry, tokens
}

func TestToken(t *testing.T) {
	for _, c := range []struct {
		need bool
		cred Credential
		ok   bool
	}{{false, Credential{}, true}, {true, secret, true}, {true, Credential{}, false}} {
		s, tokens := tokenFlow(t, c.need)
		r := client(t, c.cred).Repository(s.host(), "a/b")
		_, _, err := r.Manifest(t.Context(), "tag", nil)
		if (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
		if !c.ok {
			var status *StatusError
			if !errors.As(err, &status) || status.Code != 401 {
				t.Errorf("%+v: got %v", c, err)
			}
			continue
		}
		if _, _, err := r.Manifest(t.Context(), "tag", nil); err != nil || strings.Count(tokens.log(), "\n") != 0 {
			t.Errorf("the token was not kept: %v, %s", err, tokens.log())
		}
		if strings.Contains(s.log(), "Basic") {
			t.Error("the registry got the password that is for the token server")
		}
	}
}

func TestBasic(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == basicHeader(secret) {
			return false
		}
		w.Header().Set("WWW-Authenticate", `basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	if _, _, err := client(t, secret).Repository(s.host(), "a/b").Manifest(t.Context(), "tag", nil); err != nil {
		t.Error(err)
	}
	for _, c := range []Credential{{}, {Username: "x", Password: "y"}} {
		_, _, err := client(t, c).Repository(s.host(), "a/b").Manifest(t.Context(), "tag", nil)
		var status *StatusError
		if !errors.As(err, &status) || status.Code != 401 {
			t.Errorf("got %v", err)
		}
	}
}

// TestRedirect checks that a blob may lie elsewhere and that the credentials
// stay here.
func TestRedirect(t *testing.T) {
	elsewhere := newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/ask" {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		io.WriteString(w, blobText)
		return true
	})
	target := "/blob"
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") != basicHeader(secret) {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		http.Redirect(w, r, elsewhere.URL+target, http.StatusTemporaryRedirect)
		return true
	})
	r := client(t, secret).Repository(s.host(), "a/b")
	rc, err := r.Blob(t.Context(), blobDescriptor(), 0)
	if err != nil {
		t.Fatal(err)
	}
	rc.Close()
	target = "/ask"
	if _, err := r.Blob(t.Context(), blobDescriptor(), 0); err == nil {
		t.Error("a challenge of another server was answered")
	}
	if got := elsewhere.log(); got != "/blob \n/ask " {
		t.Errorf("the other server saw %q", got)
	}
}

// TestRealm checks where a password does not go.
func TestRealm(t *testing.T) {
	for _, realm := range []string{"http://192.0.2.1/token", "ftp://127.0.0.1/x", "file:///etc/passwd", "", "/token", "http://[::1"} {
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		})
		_, _, err := client(t, secret).Repository(s.host(), "a/b").Manifest(t.Context(), "tag", nil)
		var unreachable *UnreachableError
		if err == nil || errors.As(err, &unreachable) {
			t.Errorf("realm %q: got %v", realm, err)
		}
	}
	c := &Repository{client: New(nil), host: "registry.example", name: "a/b", scheme: "https"}
	if _, err := c.token(t.Context(), map[string]string{"realm": "http://127.0.0.1:1/"}, secret); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("from TLS to loopback: %v", err)
	}
}

func TestBaseURL(t *testing.T) {
	for host, want := range map[string]string{
		"docker.io":         "https://registry-1.docker.io/v2/",
		"ghcr.io":           "https://ghcr.io/v2/",
		"localhost":         "http://localhost/v2/",
		"localhost:5000":    "http://localhost:5000/v2/",
		"127.0.0.1:5000":    "http://127.0.0.1:5000/v2/",
		"127.9.9.9":         "http://127.9.9.9/v2/",
		"[::1]:5000":        "http://[::1]:5000/v2/",
		"[::1]":             "http://[::1]/v2/",
		"localhost.evil.io": "https://localhost.evil.io/v2/",
		"127.0.0.1.nip.io":  "https://127.0.0.1.nip.io/v2/",
		"10.0.0.1:5000":     "https://10.0.0.1:5000/v2/",
	} {
		if got := BaseURL(host); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://a/b",service="x, y",scope=z`)
	f.Add(`Basic`)
	f.Add(`Bearer a="\"`)
	f.Fuzz(func(t *testing.T, s string) {
		scheme, params := parseChallenge(s)
		if scheme != strings.ToLower(scheme) || params == nil {
			t.Errorf("%q: %q", s, scheme)
		}
	})
}

func TestFileAuth(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	enc := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	write(".config/containers/auth.json", `{"auths":{"quay.io/team":{"auth":"`+enc("team:1")+`"},"quay.io":{"auth":"`+enc("all:2:3")+`"}}}`)
	write(".docker/config.json", `{"auths":{"https://index.docker.io/v1/":{"auth":"`+enc("hub:4")+`"},"quay.io":{"auth":"`+enc("late:5")+`"},"empty":{}},"credsStore":"x"}`)
	env := map[string]string{"HOME": home}
	auth := FileAuth(func(k string) string { return env[k] })
	for in, want := range map[string]Credential{
		"quay.io team/app": {Username: "team", Password: "1"}, "quay.io teams/app": {Username: "all", Password: "2:3"}, "docker.io library/a": {Username: "hub", Password: "4"},
		"ghcr.io a": {}, "empty a": {}, "quay.io.evil.io a": {},
	} {
		host, repo, _ := strings.Cut(in, " ")
		if got, err := auth(host, repo); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", in, got, err, want)
		}
	}
	write("bad.json", "{")
	env["REGISTRY_AUTH_FILE"] = filepath.Join(home, "bad.json")
	if _, err := auth("quay.io", "x"); err == nil || !strings.Contains(err.Error(), "bad.json") {
		t.Errorf("got %v", err)
	}
}
