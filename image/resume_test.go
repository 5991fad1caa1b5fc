package image

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"airplant/image/registry"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// hubOptions pulls with the hub's credential.
func hubOptions() PullOptions {
	o := able()
	o.Connect = func(host, repository, reference string, accept []string) Source {
		return registry.Connect(func(string, string) (registry.Credential, error) {
			return registry.Credential{Username: "user", Password: "pass"}, nil
		}, host, repository, reference, accept)
	}
	return o
}

// noisy adds an image of two layers that do not compress.
func (f *fixture) noisy(tag string, size int) {
	f.image(tag, v1.ImageConfig{}, []testLayer{
		gzipped(tarOf("low", noise(size, 1))), zstded(tarOf("high", noise(size, 2))),
	}, nil)
}

// TestHub pulls from a registry with tokens and redirects whose connections
// drop each megabyte: nothing is sent twice, and no secret leaves its origin.
func TestHub(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	f.noisy("v1", 5<<20)
	h := f.serveHub(t, httptest.NewServer)
	h.drop = 1 << 20
	s := newStore(t)
	i, err := s.Pull(t.Context(), mustRef(t, h.host()+"/team/app:v1"), hubOptions())
	if err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, i, "high"); got != noise(5<<20, 2) {
		t.Errorf("a file has %d bytes", len(got))
	}
	if got, want := h.sent, h.size(); float64(got) > 1.1*float64(want) || want < 10<<20 {
		t.Errorf("%d bytes were sent for %d", got, want)
	}
	h.checkOrigins(t)
	if got := listing(t, s); got != "blobs=4 layers=2 names=1 tmp=0" {
		t.Errorf("holds %s", got)
	}
}

// TestHubTLS does the same over HTTPS with an authority of its own, which is
// written down as docker and podman have it, and not without.
func TestHubTLS(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	f.noisy("v1", 1<<20)
	h := f.serveHub(t, httptest.NewTLSServer)
	home := t.TempDir()
	env := map[string]string{"HOME": home}
	world := registry.NewWorld(func(k string) string { return env[k] }, home+"/etc")
	opts := able()
	opts.Connect = func(host, repository, reference string, accept []string) Source {
		return world.Connect(host, repository, reference, accept)
	}
	write := func(name string, text []byte) {
		t.Helper()
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".docker/config.json", []byte(`{"auths":{"`+h.host()+`":{"auth":"dXNlcjpwYXNz"}}}`))
	write("etc/containers/registries.conf", []byte("[[registry]]\nlocation = \"mirrored.example\"\n[[registry.mirror]]\nlocation = \""+h.host()+"\"\n"))
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.registry.Certificate().Raw})
	write(".config/containers/certs.d/"+h.host()+"/ca.crt", ca)
	s := newStore(t)
	if _, err := s.Pull(t.Context(), mustRef(t, h.host()+"/team/app:v1"), opts); err != nil {
		t.Fatal(err)
	}
	h.checkOrigins(t)
	// The name stays that of the registry whose mirror was asked.
	i, err := s.Pull(t.Context(), mustRef(t, "mirrored.example/team/app:v1"), opts)
	if err != nil || i.Name != "mirrored.example/team/app:v1" {
		t.Errorf("by a mirror: %v", err)
	}
	h.checkOrigins(t)
	write(".config/containers/certs.d/"+h.host()+"/ca.crt", []byte(otherCA))
	world = registry.NewWorld(func(k string) string { return env[k] }, home+"/etc")
	_, err = newStore(t).Pull(t.Context(), mustRef(t, h.host()+"/team/app:v1"), opts)
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint, "certs.d/"+h.host()+"/ca.crt") {
		t.Errorf("with another authority: %v", err)
	}
}

// otherCA is a certificate that signed nothing here.
const otherCA = `-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUCdi5gtViLlnTb2GxmrP2PD5fuc0wCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTI1MDgyMTU5WhgPMjEyNjExMDEwODIx
NTlaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
b4vb3W++yul0ZkFitB2Zl8ZO/aN8xYrU5UgX354K8pROpJXlEQxtCNCHKg3a+u21
a9B8dp9qOnWd798pMhEgzaNTMFEwHQYDVR0OBBYEFJtPzJ9aPhQtTq7dOxtn7MTI
sGv4MB8GA1UdIwQYMBaAFJtPzJ9aPhQtTq7dOxtn7MTIsGv4MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAO/Stv/S5uv2vEbkw7D5cfZg0MMF53mg
5M/V0SQwsA20AiAkNk6zV2eDKZXxIW63WgDqP7AWgOCEaADJGQ/sdiT7jQ==
-----END CERTIFICATE-----
`

// TestPullsAtOnce pulls one image many times at once, and another one that
// shares a layer: each blob is sent once.
func TestPullsAtOnce(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	f.noisy("v1", 1<<20)
	f.image("v2", v1.ImageConfig{}, []testLayer{zstded(tarOf("high", noise(1<<20, 2)))}, nil)
	h := f.serveHub(t, httptest.NewServer)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for n := range 32 {
		wg.Go(func() {
			s, err := Open(dir)
			if err == nil {
				_, err = s.Pull(t.Context(), mustRef(t, h.host()+"/a:"+[]string{"v1", "v2"}[n%2]), hubOptions())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for d, n := range h.fetches {
		if n != 1 {
			t.Errorf("%s was sent %d times", d, n)
		}
	}
	if len(h.fetches) != 4 {
		t.Errorf("%d blobs were sent", len(h.fetches))
	}
}

var errCut = errors.New("cut")

// cutting ends the first download of each layer after some bytes, as a kill
// would.
type cutting struct {
	Source
	after   int
	offsets map[digest.Digest][]int64
	mu      sync.Mutex
}

func (c *cutting) BlobFrom(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	rc, err := blobFrom(ctx, c.Source, d, offset)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offsets[d.Digest] = append(c.offsets[d.Digest], offset)
	if err == nil && offset == 0 && d.Size > 1<<20 {
		rc = &cut{rc, c.after}
	}
	return rc, err
}

// TestPullResumes goes on from what an interrupted pull left, and begins anew
// where that has rotted.
func TestPullResumes(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	big := gzipped(tarOf("f", noise(3<<20, 1)))
	f.image("v1", v1.ImageConfig{}, []testLayer{big}, nil)
	d := digest.FromBytes(big.packed)
	host, _ := f.serve(t, nil)
	for name, spoil := range map[string]func(path string) error{
		"intact":   func(string) error { return nil },
		"rotten":   func(path string) error { return os.WriteFile(path, []byte("rotten"), 0o600) },
		"too long": func(path string) error { return os.Truncate(path, 100<<20) },
		"whole":    func(path string) error { return os.WriteFile(path, big.packed, 0o600) },
	} {
		s := newStore(t)
		src := &cutting{after: 2 << 20, offsets: map[digest.Digest][]int64{}}
		opts := able()
		opts.Connect = func(host, repository, reference string, accept []string) Source {
			src.Source = registry.Connect(nil, host, repository, reference, accept)
			return src
		}
		ctx, cancel := context.WithCancel(t.Context())
		opts.Progress = func(e Event) {
			if e.Done == 2<<20 {
				cancel()
			}
		}
		if _, err := s.Pull(ctx, mustRef(t, host+"/a:v1"), opts); !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", name, err)
		}
		if got := listing(t, s); got != "blobs=2 layers=0 names=0 tmp=1" {
			t.Errorf("%s: holds %s", name, got)
		}
		if err := spoil(s.path(tmpDir, partialPrefix+d.Encoded(), partialName)); err != nil {
			t.Fatal(err)
		}
		src.after, opts.Progress = 100<<20, nil
		if _, err := s.Pull(t.Context(), mustRef(t, host+"/a:v1"), opts); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := map[string]int{"intact": 2, "rotten": 3, "too long": 2, "whole": 1}[name]
		if got := src.offsets[d]; len(got) != want || name == "intact" && got[1] != 2<<20 || name == "rotten" && got[1] != 6 {
			t.Errorf("%s: asked from %v", name, got)
		}
		if got := listing(t, s); got != "blobs=3 layers=1 names=1 tmp=0" {
			t.Errorf("%s: holds %s", name, got)
		}
	}
}

// TestNestedIndex finds an image through indexes in indexes, and no further
// than is reasonable.
func TestNestedIndex(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	f := newFixture()
	m := f.twoLayers("v1")
	m.Platform = &v1.Platform{OS: HostPlatform().OS, Architecture: HostPlatform().Architecture}
	other := v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("x"), Size: 1, Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}
	nest := func(list ...v1.Descriptor) v1.Descriptor {
		return f.addJSON(v1.MediaTypeImageIndex, v1.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: list,
		})
	}
	wrong, right := nest(other), nest(other, m)
	f.tags["two"] = nest(wrong, right)
	deep := right
	for range maxNesting + 1 {
		deep = nest(deep)
	}
	f.tags["deep"] = deep
	f.tags["none"] = nest(wrong)
	host, _ := f.serve(t, nil)
	s := newStore(t)
	if i, err := s.Pull(t.Context(), mustRef(t, host+"/a:two"), able()); err != nil || i.ManifestDigest != m.Digest {
		t.Errorf("nested: %v", err)
	}
	if _, err := s.Pull(t.Context(), mustRef(t, host+"/a:deep"), able()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("deep: %v", err)
	}
	if _, err := s.Pull(t.Context(), mustRef(t, host+"/a:none"), able()); !errors.Is(err, ErrNoPlatform) {
		t.Errorf("none: %v", err)
	}
}
