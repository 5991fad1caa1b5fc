package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// shelf is a registry that keeps what is uploaded, and fails as it is told.
type shelf struct {
	t  *testing.T
	mu sync.Mutex

	blobs    map[string][]byte // repository@digest
	uploads  map[string][]byte
	received int64
	requests []string

	cut     int64 // break the connection after so many bytes of a request
	most    int64 // answer 413 to larger requests
	busy    int   // so many times 429
	forget  int   // so many times 404 to an upload
	token   string
	origin  string // of Locations
	authAt  map[string]string
	scopes  []string
	noMount bool
}

func newShelf(t *testing.T) (*shelf, string) {
	s := &shelf{t: t, blobs: map[string][]byte{}, uploads: map[string][]byte{}, authAt: map[string]string{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, strings.TrimPrefix(srv.URL, "http://")
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	s.authAt[r.Host] += r.Header.Get("Authorization")
	switch {
	case r.URL.Path == "/token":
		s.scopes = r.URL.Query()["scope"]
		fmt.Fprintf(w, `{"token":%q}`, s.token)
	case s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token:
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="s",scope="repository:x:pull"`)
		w.WriteHeader(http.StatusUnauthorized)
	case s.busy > 0:
		s.busy--
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
	default:
		s.serve(w, r, strings.TrimPrefix(r.URL.Path, "/v2/"))
	}
}

func (s *shelf) serve(w http.ResponseWriter, r *http.Request, path string) {
	if repo, id, ok := strings.Cut(path, "/blobs/uploads/"); ok {
		s.upload(w, r, repo, id)
		return
	}
	repo, dig, ok := strings.Cut(path, "/blobs/")
	if !ok {
		repo, dig, _ = strings.Cut(path, "/manifests/")
		text, _ := io.ReadAll(r.Body)
		s.blobs[repo+"@"+dig] = text
		w.Header().Set("Docker-Content-Digest", string(digest.FromBytes(text)))
		w.WriteHeader(http.StatusCreated)
		return
	}
	b, ok := s.blobs[repo+"@"+dig]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(b)))
}

func (s *shelf) upload(w http.ResponseWriter, r *http.Request, repo, id string) {
	if r.Method == http.MethodPost {
		q := r.URL.Query()
		if b, ok := s.blobs[q.Get("from")+"@"+q.Get("mount")]; ok && !s.noMount {
			s.blobs[repo+"@"+q.Get("mount")] = b
			w.WriteHeader(http.StatusCreated)
			return
		}
		id = fmt.Sprint(len(s.uploads))
		s.uploads[id] = nil
	}
	have, ok := s.uploads[id]
	if !ok || r.Method != http.MethodPost && s.forget > 0 {
		s.forget--
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if s.most > 0 && r.ContentLength > s.most {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	if cr := r.Header.Get("Content-Range"); cr != "" && !strings.HasPrefix(cr, fmt.Sprintf("%d-", len(have))) {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	limit := r.ContentLength
	if s.cut > 0 {
		limit = min(limit, s.cut)
	}
	text, _ := io.ReadAll(io.LimitReader(r.Body, max(limit, 0)))
	s.received += int64(len(text))
	s.uploads[id] = append(have, text...)
	if int64(len(text)) < r.ContentLength {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Location", s.origin+"/v2/"+repo+"/blobs/uploads/"+id+"?state=x%20y")
	switch r.Method {
	case http.MethodPut:
		want := r.URL.Query().Get("digest")
		if r.URL.Query().Get("state") != "x y" || string(digest.FromBytes(s.uploads[id])) != want {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.blobs[repo+"@"+want] = s.uploads[id]
		delete(s.uploads, id)
		w.WriteHeader(http.StatusCreated)
	case http.MethodGet:
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(len(s.uploads[id])-1, 0)))
		w.WriteHeader(http.StatusNoContent)
	default:
		w.WriteHeader(http.StatusAccepted)
	}
}

func testPusher(t *testing.T, host string, cred Credential, from ...string) *Pusher {
	c := New(func(string, string) (Credential, error) { return cred, nil })
	c.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	t.Cleanup(c.Close)
	return NewPusher(c.Repository(host, "x"), from)
}

// TestUpload sends blobs to registries that make trouble.
func TestUpload(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 10<<16) // 10 MiB
	for name, c := range map[string]struct {
		text  []byte
		set   func(*shelf)
		check func(*testing.T, *shelf)
	}{
		"empty": {text: []byte{}},
		"small": {text: []byte("small"), check: func(t *testing.T, s *shelf) {
			if got := strings.Join(s.requests, ", "); got != "POST /v2/x/blobs/uploads/, PUT /v2/x/blobs/uploads/0" {
				t.Error(got)
			}
		}},
		"big": {text: big, check: func(t *testing.T, s *shelf) {
			if got := strings.Join(s.requests, ", "); got != "POST /v2/x/blobs/uploads/, PATCH /v2/x/blobs/uploads/0, PUT /v2/x/blobs/uploads/0" {
				t.Error(got)
			}
		}},
		"cut every megabyte": {text: big, set: func(s *shelf) { s.cut = 1 << 20 }, check: func(t *testing.T, s *shelf) {
			if s.received > int64(len(big))*11/10 {
				t.Errorf("%d bytes for %d", s.received, len(big))
			}
		}},
		"too large":               {text: big, set: func(s *shelf) { s.most = 3 << 20 }},
		"too large and cut":       {text: big, set: func(s *shelf) { s.most, s.cut = 5<<20, 1<<20 }},
		"busy":                    {text: []byte("busy"), set: func(s *shelf) { s.busy = 3 }},
		"forgotten at the end":    {text: []byte("small"), set: func(s *shelf) { s.forget = 1 }},
		"forgotten in the middle": {text: big, set: func(s *shelf) { s.forget = 2 }},
	} {
		t.Run(name, func(t *testing.T) {
			s, host := newShelf(t)
			if c.set != nil {
				c.set(s)
			}
			d := v1.Descriptor{Digest: digest.FromBytes(c.text), Size: int64(len(c.text))}
			p := testPusher(t, host, Credential{})
			if from, err := p.Blob(t.Context(), d, opener(c.text)); err != nil || from != "" {
				t.Fatal(from, err)
			}
			if !bytes.Equal(s.blobs["x@"+string(d.Digest)], c.text) {
				t.Error("the registry has something else")
			}
			if c.check != nil {
				c.check(t, s)
			}
			if has, err := p.Has(t.Context(), d); err != nil || !has {
				t.Errorf("has: %v %v", has, err)
			}
		})
	}
}

// TestUploadEnds sees that what cannot succeed ends, and says why.
func TestUploadEnds(t *testing.T) {
	text := []byte("text")
	d := v1.Descriptor{Digest: digest.FromBytes(text), Size: 4}
	for name, c := range map[string]struct {
		set  func(*shelf)
		want string
	}{
		"always busy":      {func(s *shelf) { s.busy = 1 << 30 }, "429 Too Many Requests"},
		"always forgotten": {func(s *shelf) { s.forget = 1 << 30 }, "forgotten"},
		"another scheme":   {func(s *shelf) { s.origin = "ftp://127.0.0.1" }, "not reached by https"},
	} {
		s, host := newShelf(t)
		c.set(s)
		p := testPusher(t, host, Credential{})
		if _, err := p.Blob(t.Context(), d, opener(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if len(s.requests) > 60 {
			t.Errorf("%s: %d requests", name, len(s.requests))
		}
	}
	_, host := newShelf(t)
	wrong := v1.Descriptor{Digest: digest.FromString("other"), Size: 4}
	var status *StatusError
	if _, err := testPusher(t, host, Credential{}).Blob(t.Context(), wrong, opener(text)); !errors.As(err, &status) || status.Code != 400 {
		t.Errorf("wrong content: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := testPusher(t, host, Credential{}).Blob(ctx, d, opener(text)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestMount takes a blob from another repository, or sends it where that is
// refused.
func TestMount(t *testing.T) {
	text := []byte("text")
	d := v1.Descriptor{Digest: digest.FromBytes(text), Size: 4}
	for _, no := range []bool{false, true} {
		s, host := newShelf(t)
		s.token, s.noMount = "secret", no
		s.blobs["y@"+string(d.Digest)] = text
		from, err := testPusher(t, host, Credential{}, "y").Blob(t.Context(), d, opener(text))
		if err != nil || from == "y" == no || string(s.blobs["x@"+string(d.Digest)]) != "text" {
			t.Errorf("refused %v: %q %v", no, from, err)
		}
		if got := strings.Join(s.scopes, " "); got != "repository:x:pull,push repository:y:pull" {
			t.Errorf("scopes %s", got)
		}
	}
}

// TestUploadElsewhere sends content to another origin, and no credentials.
func TestUploadElsewhere(t *testing.T) {
	store, storeHost := newShelf(t)
	s, host := newShelf(t)
	s.token, s.origin = "secret", "http://"+storeHost
	store.uploads["0"] = nil
	text := []byte("text")
	d := v1.Descriptor{Digest: digest.FromBytes(text), Size: 4}
	if _, err := testPusher(t, host, Credential{Username: "u", Password: "p"}).Blob(t.Context(), d, opener(text)); err != nil {
		t.Fatal(err)
	}
	if string(store.blobs["x@"+string(d.Digest)]) != "text" || store.authAt[storeHost] != "" {
		t.Errorf("the other origin has %q and was told %q", store.blobs, store.authAt[storeHost])
	}
}

// TestDocument writes manifests, and believes no registry that calls them
// something else.
func TestDocument(t *testing.T) {
	s, host := newShelf(t)
	text := []byte(`{}`)
	d := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromBytes(text), Size: 2}
	p := testPusher(t, host, Credential{})
	if err := p.Document(t.Context(), "tag", d, text); err != nil || string(s.blobs["x@tag"]) != "{}" {
		t.Errorf("%v %q", err, s.blobs)
	}
	d.Digest = digest.FromString("other")
	if err := p.Document(t.Context(), "tag", d, text); err == nil || !strings.Contains(err.Error(), "calls it") {
		t.Errorf("got %v", err)
	}
}
