package image

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

// hub is a registry as the big ones are: tokens come from another server, and
// blobs lie on a third one, whose connections drop.
//
//	registry  401 Bearer, manifests, 307 for blobs
//	tokens    Basic -> token for one scope
//	storage   blobs, with ranges
type hub struct {
	*fixture
	registry, tokens, storage *httptest.Server

	drop int // bytes after which a connection of the storage ends, 0: never

	mu      sync.Mutex
	seen    map[string][]string // Authorization headers by server
	sent    int64               // bytes of blobs
	fetches map[digest.Digest]int
}

const (
	hubUser  = "Basic dXNlcjpwYXNz" // user:pass
	hubToken = "Bearer T0KEN-"
)

// serveHub starts the three servers by start, which is httptest.NewServer or
// its twin with TLS.
func (f *fixture) serveHub(t *testing.T, start func(http.Handler) *httptest.Server) *hub {
	t.Helper()
	h := &hub{fixture: f, seen: map[string][]string{}, fetches: map[digest.Digest]int{}}
	h.storage = start(h.watch("storage", h.serveBlob))
	h.tokens = start(h.watch("tokens", h.serveToken))
	h.registry = start(h.watch("registry", h.serveRegistry))
	for _, s := range []*httptest.Server{h.storage, h.tokens, h.registry} {
		t.Cleanup(s.Close)
	}
	return h
}

func (h *hub) watch(name string, serve http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		if a := r.Header.Get("Authorization"); !slices.Contains(h.seen[name], a) {
			h.seen[name] = append(h.seen[name], a)
		}
		h.mu.Unlock()
		serve(w, r)
	})
}

func (h *hub) host() string {
	_, host, _ := strings.Cut(h.registry.URL, "://")
	return host
}

func (h *hub) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != hubUser {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, `{"token":"T0KEN-%s"}`, r.URL.Query().Get("scope"))
}

func (h *hub) serveRegistry(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/v2/"), "/")
	repo, kind, last := strings.Join(parts[:len(parts)-2], "/"), parts[len(parts)-2], parts[len(parts)-1]
	scope := "repository:" + repo + ":pull"
	if r.Header.Get("Authorization") != hubToken+scope {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="hub",scope="%s"`, h.tokens.URL, scope))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if kind == "blobs" {
		http.Redirect(w, r, h.storage.URL+"/"+last+"?signature=x", http.StatusTemporaryRedirect)
		return
	}
	d, isTag := h.tags[last]
	if !isTag {
		d.Digest = digest.Digest(last)
	}
	data, ok := h.blobs[d.Digest]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mediaTypeOf(data))
	_, _ = w.Write(data)
}

func (h *hub) serveBlob(w http.ResponseWriter, r *http.Request) {
	d := digest.Digest(strings.TrimPrefix(r.URL.Path, "/"))
	data, ok := h.blobs[d]
	if !ok {
		http.NotFound(w, r)
		return
	}
	from := 0
	if after, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		from, _ = strconv.Atoi(strings.TrimSuffix(after, "-"))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
	}
	rest := data[from:]
	w.Header().Set("Content-Length", strconv.Itoa(len(rest)))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	if h.drop > 0 && len(rest) > h.drop {
		rest = rest[:h.drop]
	}
	n, _ := w.Write(rest)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent += int64(n)
	if from == 0 {
		h.fetches[d]++
	}
}

// size is the number of bytes in the blobs that an image needs from storage.
func (h *hub) size() int64 {
	var n int64
	for d, data := range h.blobs {
		if h.fetches[d] > 0 {
			n += int64(len(data))
		}
	}
	return n
}

// checkOrigins checks that each secret was seen only where it belongs.
func (h *hub) checkOrigins(t *testing.T) {
	t.Helper()
	for name, ok := range map[string]func(string) bool{
		"registry": func(a string) bool { return a == "" || strings.HasPrefix(a, hubToken) },
		"tokens":   func(a string) bool { return a == hubUser },
		"storage":  func(a string) bool { return a == "" },
	} {
		if len(h.seen[name]) == 0 {
			t.Errorf("nobody asked %s", name)
		}
		for _, a := range h.seen[name] {
			if !ok(a) {
				t.Errorf("%s saw %q", name, a)
			}
		}
	}
}

// noise is what does not get smaller by compression.
func noise(n int, seed uint32) string {
	b := make([]byte, n)
	for i := range b {
		seed = seed*1664525 + 1013904223
		b[i] = byte(seed >> 24)
	}
	return string(b)
}

// cut is a source whose blobs end early, as when a pull is killed.
type cut struct {
	io.ReadCloser
	rest int
}

func (c *cut) Read(p []byte) (int, error) {
	if c.rest == 0 {
		return 0, errCut
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.rest)])
	c.rest -= n
	return n, err
}
