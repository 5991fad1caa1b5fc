package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"airplant/image/inflate"
	"airplant/image/registry"
	"airplant/internal/testenv"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// serve makes a registry of a fixture; all repositories are the same. It
// counts what is asked for.
func (f *fixture) serve(t *testing.T, before func(w http.ResponseWriter, r *http.Request) bool) (string, *counter) {
	t.Helper()
	c := &counter{n: map[string]int{}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		c.add(last)
		if before != nil && before(w, r) {
			return
		}
		d, isTag := f.tags[last]
		if !isTag {
			d.Digest = digest.Digest(last)
		}
		data, ok := f.blobs[d.Digest]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", mediaTypeOf(data))
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), c
}

func mediaTypeOf(data []byte) string {
	var d struct {
		MediaType string `json:"mediaType"`
	}
	if json.Unmarshal(data, &d) != nil || d.MediaType == "" {
		return "application/octet-stream"
	}
	return d.MediaType
}

type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) add(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[s]++
}

func (c *counter) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, k := range c.n {
		n += k
	}
	return n
}

func (c *counter) get(s string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[s]
}

// TestPullRegistry pulls by tag, by digest and by way of an index, and counts
// what is transferred.
func TestPullRegistry(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	m := f.twoLayers("v1")
	m.Platform = &v1.Platform{OS: HostPlatform().OS, Architecture: HostPlatform().Architecture}
	other := m
	other.Digest, other.Platform = digest.FromString("x"), &v1.Platform{OS: "linux", Architecture: "s390x"}
	f.tags["list"] = f.addJSON(v1.MediaTypeImageIndex, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{other, m},
	})
	host, count := f.serve(t, nil)
	s := newStore(t)
	var events []EventKind
	i, err := s.Pull(t.Context(), mustRef(t, host+"/a/b:v1"), PullOptions{Connect: connect, Gzip: inflate.Gzip, Zstd: inflate.Zstd, Progress: func(e Event) { events = append(events, e.Kind) }})
	if err != nil {
		t.Fatal(err)
	}
	if readFile(t, i, "etc/hostname") != "name\n" || len(events) < 5 || events[0] != Resolved {
		t.Errorf("events %v", events)
	}
	for _, ref := range []string{"/a/b@" + string(m.Digest), "/a/b:list", "/c:v1"} {
		got, err := s.Pull(t.Context(), mustRef(t, host+ref), PullOptions{Connect: connect, Policy: PullAlways})
		if err != nil || got.ManifestDigest != m.Digest {
			t.Errorf("%s: %v", ref, err)
		}
	}
	before := count.get("v1")
	if _, err := s.Pull(t.Context(), mustRef(t, host+"/a/b:v1"), able()); err != nil || count.get("v1") != before {
		t.Errorf("what is there was asked for: %v", err)
	}
	for d := range f.blobs {
		if n := count.get(string(d)); n > 1 && d != m.Digest {
			t.Errorf("%s was transferred %d times", d, n)
		}
	}
	if list, err := s.Images(); err != nil || len(list) != 4 {
		t.Errorf("images: %d, %v", len(list), err)
	}
}

// TestPullErrors checks that each failure is told from the others, in one
// line.
func TestPullErrors(t *testing.T) {
	closed := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}()
	f := newFixture()
	d := f.twoLayers("v1")
	wrong := d.Digest[:len(d.Digest)-1] + "0"
	if wrong == d.Digest {
		wrong = d.Digest[:len(d.Digest)-1] + "1"
	}
	f.blobs[wrong] = []byte(`{"schemaVersion":2}`)
	f.tags["schema1"] = f.add("x", []byte(`{"schemaVersion":1,"fsLayers":[]}`))
	f.tags["helm"] = f.image("helm", v1.ImageConfig{}, nil, func(m *v1.Manifest, _ *v1.Image) { m.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" })
	var status atomic.Int32
	host, _ := f.serve(t, func(w http.ResponseWriter, _ *http.Request) bool {
		code := int(status.Load())
		if code != 0 {
			w.Header().Set("Retry-After", "30")
			w.WriteHeader(code)
		}
		return code != 0
	})
	for _, c := range []struct {
		ref    string
		status int
		is     error
		hint   string
	}{
		{host + "/a:none", 0, ErrNotFound, "tag"},
		{host + "/a:v1", 401, ErrUnauthorized, "login " + host},
		{host + "/a:v1", 403, ErrUnauthorized, "login"},
		{host + "/a:v1", 429, ErrRateLimited, "30s"},
		{host + "/a:v1", 501, nil, ""},
		{closed + "/a", 0, ErrUnreachable, "curl -sI http://" + closed},
		{host + "/a@" + string(wrong), 0, ErrDigest, "nothing of it was kept"},
		{host + "/a:schema1", 0, ErrUnsupported, ""},
		{host + "/a:helm", 0, ErrUnsupported, ""},
		{"oci:/nonexistent", 0, ErrNotFound, ""},
		{"oci-archive:/nonexistent", 0, ErrNotFound, ""},
		{"oci:/etc", 0, ErrUnsupported, ""},
		{"oci-archive:/etc/passwd", 0, ErrUnsupported, ""},
		{"oci-archive:/etc", 0, ErrUnsupported, ""},
	} {
		status.Store(int32(c.status))
		_, err := newStore(t).Pull(t.Context(), mustRef(t, c.ref), able())
		var e *Error
		if !errors.As(err, &e) || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(e.Hint, c.hint) || (c.hint == "") != (e.Hint == "") {
			t.Errorf("%s %d: got %v, hint %q, want %v, %q", c.ref, c.status, err, e.Hint, c.is, c.hint)
		}
		if strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "pull "+c.ref[:4]) {
			t.Errorf("%s: message %q", c.ref, err)
		}
	}
}

// TestPullBroken serves blobs that stop or stall half way.
func TestPullBroken(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	noise := make([]byte, 3<<20)
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	big := gzipped(tarOf("noise", string(noise)))
	f.image("x", v1.ImageConfig{}, []testLayer{big}, nil)
	var hang atomic.Bool
	host, _ := f.serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, digest.FromBytes(big.packed).Encoded()) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(big.packed)))
		_, _ = w.Write(big.packed[:1<<20])
		if hang.Load() {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
		return true // the server closes the connection
	})
	s := newStore(t)
	_, err := s.Pull(t.Context(), mustRef(t, host+"/a:x"), able())
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("broken: %v", err)
	}
	hang.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = s.Pull(ctx, mustRef(t, host+"/a:x"), able())
	if err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("stalled: %v after %v", err, time.Since(start))
	}
	// Only the download is left, for the next pull.
	if got := listing(t, s); !strings.Contains(got, "layers=0 names=0 tmp=1") {
		t.Errorf("left: %s", got)
	}
}

// TestPullKilled kills pulls at many moments: afterwards the store lists and
// pulls, and nothing is half there.
func TestPullKilled(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	const victim = "AIRPLANT_TEST_VICTIM"
	if arg := os.Getenv(victim); arg != "" {
		dir, ref, _ := strings.Cut(arg, " ")
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Pull(t.Context(), mustRef(t, ref), able()); err != nil {
			t.Fatal(err)
		}
		return
	}
	f := newFixture()
	var files []string
	for n := range 500 {
		files = append(files, fmt.Sprintf("f%d", n), strings.Repeat("x", n))
	}
	f.image("x", v1.ImageConfig{}, []testLayer{gzipped(tarOf(files...)), gzipped(tarOf(files...)), zstded(tarOf(files[:100]...))}, nil)
	ref := "oci:" + f.layout(t) + ":x"
	killed := 0
	for n := range 12 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestPullKilled$", "-test.count=1")
		cmd.Env = append(os.Environ(), victim+"="+dir+" "+ref)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(n) * 6 * time.Millisecond)
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		checkAfterKill(t, dir, ref)
	}
	if killed == 0 {
		t.Error("no pull was killed")
	}
}

func checkAfterKill(t *testing.T, dir, ref string) {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Images(); err != nil {
		t.Error(err)
	}
	i, err := s.Pull(t.Context(), mustRef(t, ref), able())
	if err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, i, "f499"); len(got) != 499 {
		t.Errorf("a file has %d bytes", len(got))
	}
	if got := listing(t, s); got != "blobs=5 layers=3 names=1 tmp=0" && !strings.HasPrefix(got, "blobs=4 layers=3 names=1 tmp=") {
		t.Errorf("holds %s", got)
	}
}

// TestSkopeo pulls what skopeo pushes to Debian's registry and writes as an
// archive.
func TestSkopeo(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	testenv.Need(t, "skopeo", "docker-registry")
	f := newFixture()
	d := f.twoLayers("v1")
	layout := f.layout(t)
	host := startRegistry(t)
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		args = append([]string{"--policy", dir + "/policy.json", "--tmpdir", dir}, args...)
		cmd := exec.CommandContext(t.Context(), "skopeo", args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("skopeo %v: %v: %s", args, err, out)
		}
	}
	if err := os.WriteFile(dir+"/policy.json", []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	run("copy", "--dest-tls-verify=false", "oci:"+layout+":v1", "docker://"+host+"/team/app:v1")
	run("copy", "--dest-tls-verify=false", "--format=v2s2", "oci:"+layout+":v1", "docker://"+host+"/team/app:docker")
	run("copy", "oci:"+layout+":v1", "oci-archive:"+dir+"/app.tar:some/name:v1")
	s := newStore(t)
	for _, ref := range []string{host + "/team/app:v1", host + "/team/app:docker", "oci-archive:" + dir + "/app.tar:some/name:v1", "oci-archive:" + dir + "/app.tar"} {
		i, err := s.Pull(t.Context(), mustRef(t, ref), able())
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.HasSuffix(ref, "docker") && i.ManifestDigest != d.Digest || readFile(t, i, "/etc/hostname") != "name\n" {
			t.Errorf("%s: got %s", ref, i.ManifestDigest)
		}
	}
	// The store itself is a layout that skopeo reads.
	run("copy", "oci:"+s.dir+":"+host+"/team/app:v1", "dir:"+dir+"/copy")
	_, err := s.Pull(t.Context(), mustRef(t, host+"/team/app:none"), able())
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func startRegistry(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: " + dir + "/data\nhttp:\n  addr: " + host + "\n"
	if err := os.WriteFile(dir+"/config.yml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "docker-registry", "serve", dir+"/config.yml")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 200 {
		if resp, err := http.Get("http://" + host + "/v2/"); err == nil {
			resp.Body.Close()
			return host
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the registry does not answer")
	return ""
}

// connect speaks to registries without a credential.
func connect(host, repository, reference string, accept []string) Source {
	return registry.Connect(nil, host, repository, reference, accept)
}

// able can pull whatever there is.
func able() PullOptions {
	return PullOptions{Connect: connect, Gzip: inflate.Gzip, Zstd: inflate.Zstd}
}

// TestPullWithout pulls what the caller has no means for.
func TestPullWithout(t *testing.T) {
	f := newFixture()
	f.image("gzip", v1.ImageConfig{}, []testLayer{gzipped(tarOf("f", "x"))}, nil)
	f.image("zstd", v1.ImageConfig{}, []testLayer{zstded(tarOf("f", "x"))}, nil)
	dir := f.layout(t)
	for _, c := range []struct {
		ref, says string
		without   func(*PullOptions)
	}{
		{"oci:" + dir + ":gzip", "gzip", func(o *PullOptions) { o.Gzip = nil }},
		{"oci:" + dir + ":zstd", "zstd", func(o *PullOptions) { o.Zstd = nil }},
		{"localhost:1/a:b", "registries", func(o *PullOptions) { o.Connect = nil }},
	} {
		opts := able()
		c.without(&opts)
		_, err := newStore(t).Pull(t.Context(), mustRef(t, c.ref), opts)
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.says, err)
		}
	}
}
