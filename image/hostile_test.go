package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestHostileDocuments pulls images whose documents are made to confuse, to
// exhaust or to lead astray. Each is refused within moments with nothing
// visible, and each has a twin without the poison that is pulled.
func TestHostileDocuments(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	manifest := func(f *fixture, edit func(string) string) v1.Descriptor {
		d := f.image("plain", v1.ImageConfig{}, []testLayer{gzipped(tarOf("a", "a"))}, nil)
		return f.add(d.MediaType, []byte(edit(string(f.blobs[d.Digest]))))
	}
	config := func(f *fixture, edit func(string) string) v1.Descriptor {
		return f.image("plain", v1.ImageConfig{}, []testLayer{gzipped(tarOf("a", "a"))}, func(m *v1.Manifest, c *v1.Image) {
			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			m.Config = f.add(v1.MediaTypeImageConfig, []byte(edit(string(text))))
		})
	}
	inside := func(extra string) func(string) string {
		return func(s string) string { return strings.TrimSuffix(s, "}") + "," + extra + "}" }
	}
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	wide := func(f *fixture, levels int) v1.Descriptor {
		d := f.addJSON(v1.MediaTypeImageIndex, v1.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex,
			Manifests: []v1.Descriptor{{
				MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString("x"), Size: 1,
				Platform: &v1.Platform{OS: "plan9", Architecture: "vax"},
			}},
		})
		for range levels {
			list := make([]v1.Descriptor, maxUntold)
			for i := range list {
				list[i] = d
			}
			d = f.addJSON(v1.MediaTypeImageIndex, v1.Index{
				Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: list,
			})
		}
		return d
	}
	const other = `"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}`
	cases := map[string]struct {
		hostile, benign func(f *fixture) v1.Descriptor
		says            string // of the hostile one
	}{
		"a name twice": {
			func(f *fixture) v1.Descriptor { return manifest(f, inside(other)) },
			func(f *fixture) v1.Descriptor { return manifest(f, inside(`"annotations":{"config":"x"}`)) },
			"duplicate",
		},
		"a name twice in the configuration": {
			func(f *fixture) v1.Descriptor { return config(f, inside(`"os":"linux"`)) },
			func(f *fixture) v1.Descriptor { return config(f, inside(`"OS":"plan9"`)) }, // nobody's
			"duplicate",
		},
		"an index in other letters": {
			func(f *fixture) v1.Descriptor {
				return manifest(f, func(s string) string { return strings.Replace(s, `"layers"`, `"LAYERS"`, 1) })
			},
			func(f *fixture) v1.Descriptor { return manifest(f, inside(`"MANIFESTS":[]`)) },
			"1 diff ids for 0 layers",
		},
		"depth": {
			func(f *fixture) v1.Descriptor { return manifest(f, inside(`"x":`+deep(100_000))) },
			func(f *fixture) v1.Descriptor { return manifest(f, inside(`"x":`+deep(1000))) },
			"depth",
		},
		"depth of the configuration": {
			func(f *fixture) v1.Descriptor { return config(f, inside(`"x":`+deep(1_000_000))) },
			func(f *fixture) v1.Descriptor { return config(f, inside(`"x":`+deep(1000))) },
			"depth",
		},
		"size of the manifest": {
			func(f *fixture) v1.Descriptor { return manifest(f, inside(`"x":"`+strings.Repeat("x", 5<<20)+`"`)) },
			func(f *fixture) v1.Descriptor { return manifest(f, inside(`"x":"`+strings.Repeat("x", 3<<20)+`"`)) },
			"bytes",
		},
		"size of the configuration": {
			func(f *fixture) v1.Descriptor { return config(f, inside(`"x":"`+strings.Repeat("x", 9<<20)+`"`)) },
			func(f *fixture) v1.Descriptor { return config(f, inside(`"x":"`+strings.Repeat("x", 7<<20)+`"`)) },
			"bytes",
		},
		"trailing document": {
			func(f *fixture) v1.Descriptor { return manifest(f, func(s string) string { return s + s }) },
			func(f *fixture) v1.Descriptor { return manifest(f, func(s string) string { return s + "\n \n" }) },
			"manifest",
		},
		"indexes without end": {
			func(f *fixture) v1.Descriptor { return wide(f, maxNesting-1) },
			func(f *fixture) v1.Descriptor {
				m := f.image("plain", v1.ImageConfig{}, []testLayer{gzipped(tarOf("a", "a"))}, nil)
				p := HostPlatform()
				m.Platform = &p
				return f.addJSON(v1.MediaTypeImageIndex, v1.Index{
					Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex,
					Manifests: []v1.Descriptor{wide(f, 1), f.addJSON(v1.MediaTypeImageIndex, v1.Index{
						Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{m},
					})},
				})
			},
			"more than 64 manifests and indexes",
		},
		"an index that says it holds itself": {
			func(f *fixture) v1.Descriptor {
				self := v1.Descriptor{MediaType: v1.MediaTypeImageIndex, Digest: digest.FromString("self"), Size: 10}
				d := f.addJSON(v1.MediaTypeImageIndex, v1.Index{
					Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{self},
				})
				f.blobs[self.Digest] = f.blobs[d.Digest]
				return d
			},
			func(f *fixture) v1.Descriptor {
				d := f.image("plain", v1.ImageConfig{}, []testLayer{gzipped(tarOf("a", "a"))}, nil)
				return f.addJSON(v1.MediaTypeImageIndex, v1.Index{
					Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{d},
				})
			},
			"want sha256",
		},
		"one layer many times": {
			func(f *fixture) v1.Descriptor {
				return f.image("x", v1.ImageConfig{}, repeated(501), nil)
			},
			func(f *fixture) v1.Descriptor { return f.image("x", v1.ImageConfig{}, repeated(50), nil) },
			"501 layers",
		},
		"a size that is a lie": {
			func(f *fixture) v1.Descriptor {
				return f.image("x", v1.ImageConfig{}, repeated(1), func(m *v1.Manifest, _ *v1.Image) { m.Layers[0].Size = 1 << 62 })
			},
			func(f *fixture) v1.Descriptor { return f.image("x", v1.ImageConfig{}, repeated(1), nil) },
			"layer of 4611686018427387904 bytes",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for _, benign := range []bool{false, true} {
				f := newFixture()
				if f.tags["x"] = c.hostile(f); benign {
					f.tags["x"] = c.benign(f)
				}
				s := newStore(t)
				host, asked := f.serve(t, nil)
				start := time.Now()
				_, err := s.Pull(t.Context(), mustRef(t, host+"/a:x"), able())
				if took := time.Since(start); took > 20*time.Second {
					t.Errorf("benign=%v: took %v", benign, took)
				}
				if benign {
					if err != nil {
						t.Errorf("the twin: %v", err)
					}
					continue
				}
				if err == nil || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 2000 {
					t.Errorf("got %v, want %q", err, c.says)
				}
				if left := listing(t, s); !strings.Contains(left, "layers=0 names=0 tmp=0") {
					t.Errorf("left: %s", left)
				}
				asked.mu.Lock()
				for what, n := range asked.n {
					if n > maxFollowed {
						t.Errorf("%s was asked for %d times", what, n)
					}
				}
				asked.mu.Unlock()
			}
		})
	}
}

func repeated(n int) []testLayer {
	one := gzipped(tarOf("a", "a"))
	var list []testLayer
	for range n {
		list = append(list, one)
	}
	return list
}

// rawEntry is an entry of an archive.
type rawEntry struct {
	tar.Header
	content string
}

func regular(name, content string) rawEntry {
	return rawEntry{tar.Header{Typeflag: tar.TypeReg, Name: name}, content}
}

func special(kind byte, name, target string) rawEntry {
	return rawEntry{tar.Header{Typeflag: kind, Name: name, Linkname: target}, ""}
}

func archiveOf(t *testing.T, entries ...rawEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := e.Header
		h.Mode, h.Size = 0o644, int64(len(e.content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archives makes the files of archives with one good image.
func (f *fixture) ociFiles(t *testing.T) []rawEntry {
	t.Helper()
	d := f.twoLayers("v1")
	d.Annotations = map[string]string{v1.AnnotationRefName: "localhost/good:1"}
	index, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []v1.Descriptor{d}})
	if err != nil {
		t.Fatal(err)
	}
	list := []rawEntry{regular("oci-layout", `{"imageLayoutVersion":"1.0.0"}`), regular("index.json", string(index))}
	for d, data := range f.blobs {
		list = append(list, regular(blobName(d), string(data)))
	}
	return list
}

func dockerFiles(manifest string) []rawEntry {
	plain := tarOf("etc/", "", "etc/x", "x")
	p := HostPlatform()
	config := fmt.Sprintf(`{"os":%q,"architecture":%q,"rootfs":{"type":"layers","diff_ids":[%q]}}`, p.OS, p.Architecture, digest.FromBytes(plain))
	if manifest == "" {
		manifest = `[{"Config":"c.json","RepoTags":["localhost/good:1"],"Layers":["l/layer.tar"]}]`
	}
	return []rawEntry{regular("c.json", config), regular("l/layer.tar", string(plain)), regular("manifest.json", manifest)}
}

// TestHostileArchives loads archives that try to write or read elsewhere, or
// more than there is. None of an archive's files is ever created, so a path
// can only be looked up, or not.
func TestHostileArchives(t *testing.T) {
	if rerunInWorker(t) {
		return
	}
	secret := filepath.Join(t.TempDir(), "secret.tar")
	if err := os.WriteFile(secret, tarOf("secret", "secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	oci := newFixture().ociFiles(t)
	without := func(list []rawEntry, name string) []rawEntry {
		var rest []rawEntry
		for _, e := range list {
			if e.Name != name {
				rest = append(rest, e)
			}
		}
		return rest
	}
	// archive/tar writes no sparse files; what it writes of these has no sum.
	sparse := bytes.ReplaceAll(archiveOf(t, append(without(dockerFiles(""), "l/layer.tar"), rawEntry{tar.Header{
		Typeflag: tar.TypeReg, Name: "l/layer.tar", Format: tar.FormatPAX, PAXRecords: map[string]string{
			"GNUxsparse.major": "0", "GNUxsparse.minor": "1", "GNUxsparse.name": "l/layer.tar",
			"GNUxsparse.size": "1099511627776", "GNUxsparse.numblocks": "1", "GNUxsparse.map": "0,1",
		},
	}, "x"})...), []byte("GNUxsparse"), []byte("GNU.sparse"))
	long := strings.Repeat("n/", 600) + "n"
	cases := map[string]struct {
		data []byte
		says string // "" if it loads, as a twin must
	}{
		"oci":                         {archiveOf(t, oci...), ""},
		"docker":                      {archiveOf(t, dockerFiles("")...), ""},
		"oci with a device beside":    {archiveOf(t, append(oci, special(tar.TypeChar, "dev", ""), special(tar.TypeFifo, "fifo", ""))...), ""},
		"oci below ./":                {archiveOf(t, prefixed("./", oci)...), ""},
		"docker with a linked layer":  {archiveOf(t, linkedLayer(tar.TypeSymlink, "../real.tar")...), ""},
		"docker with a hard link":     {archiveOf(t, linkedLayer(tar.TypeLink, "real.tar")...), ""},
		"names that lead up":          {archiveOf(t, append(oci, regular("../../../../tmp/airplant-evil", "x"))...), ""},
		"absolute names":              {archiveOf(t, append(oci, regular("/tmp/airplant-evil", "x"))...), ""},
		"a link out of the archive":   {archiveOf(t, linkedLayer(tar.TypeSymlink, secret)...), "does not exist"},
		"a hard link out of it":       {archiveOf(t, linkedLayer(tar.TypeLink, secret)...), "does not exist"},
		"a layer that leads up":       {archiveOf(t, dockerFiles(`[{"Config":"c.json","Layers":["../../../..`+secret+`"]}]`)...), "does not exist"},
		"a configuration that does":   {archiveOf(t, dockerFiles(`[{"Config":"/etc/passwd","Layers":["l/layer.tar"]}]`)...), "does not exist"},
		"links in a circle":           {archiveOf(t, append(without(dockerFiles(""), "l/layer.tar"), special(tar.TypeSymlink, "l/layer.tar", "b"), special(tar.TypeSymlink, "l/b", "layer.tar"))...), "does not exist"},
		"a device for a layer":        {archiveOf(t, append(without(dockerFiles(""), "l/layer.tar"), special(tar.TypeChar, "l/layer.tar", ""))...), "does not exist"},
		"a fifo for an index":         {archiveOf(t, append(without(oci, "index.json"), special(tar.TypeFifo, "index.json", ""))...), "neither an OCI image layout"},
		"a directory for an index":    {archiveOf(t, append(without(oci, "index.json"), special(tar.TypeDir, "index.json/", ""))...), "neither an OCI image layout"},
		"a second index":              {archiveOf(t, append(oci, regular("index.json", `{"schemaVersion":2,"manifests":[]}`))...), "no image"},
		"a blob that is another":      {archiveOf(t, append(oci, wrongBlob(oci))...), "digest"},
		"truncated":                   {archiveOf(t, oci...)[:2500], "unexpected EOF"},
		"truncated docker":            {archiveOf(t, dockerFiles("")...)[:2100], "unexpected EOF"},
		"names without end":           {archiveOf(t, append(oci, regular(long, "x"))...), "a name of more than"},
		"a name no reference can be":  {archiveOf(t, dockerFiles(`[{"Config":"c.json","RepoTags":["../../x:1"],"Layers":["l/layer.tar"]}]`)...), "name"},
		"a name with control bytes":   {archiveOf(t, dockerFiles(`[{"Config":"c.json","RepoTags":["a\u001b[2J:1"],"Layers":["l/layer.tar"]}]`)...), "name"},
		"many images":                 {archiveOf(t, dockerFiles("["+strings.Repeat(`{"Config":"c.json","Layers":["l/layer.tar"]},`, 1001)+`{}]`)...), "1002 images"},
		"a member twice":              {archiveOf(t, dockerFiles(`[{"Config":"c.json","Config":"/x","Layers":["l/layer.tar"]}]`)...), "duplicate"},
		"a manifest of 5 MiB":         {archiveOf(t, dockerFiles("["+strings.Repeat(" ", 5<<20)+"]")...), "larger than"},
		"a terabyte of holes":         {sparse, "sparse"},
		"junk":                        {bytes.Repeat([]byte("junk"), 1000), "not an oci-archive"},
		"nothing":                     {nil, "neither an OCI image layout"},
		"gzip of junk":                {gzipped([]byte(strings.Repeat("junk", 1000))).packed, "not an oci-archive"},
		"gzip, good":                  {gzipped(archiveOf(t, oci...)).packed, ""},
		"zstd, good":                  {zstded(archiveOf(t, dockerFiles("")...)).packed, ""},
		"gzip that ends early":        {gzipped(archiveOf(t, oci...)).packed[:300], "unexpected EOF"},
		"a layout of another version": {archiveOf(t, append(oci, regular("oci-layout", `{"imageLayoutVersion":"9"}`))...), "version"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "archive")
			if err := os.WriteFile(file, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			s := newStore(t)
			err = s.Load(t.Context(), in, able(), func(*Image) {})
			left := listing(t, s)
			switch {
			case c.says == "" && (err != nil || !strings.Contains(left, "names=1 tmp=0")):
				t.Errorf("got %v; store: %s", err, left)
			case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("got %v, want %q", err, c.says)
			case c.says != "" && !strings.Contains(left, "names=0 tmp=0"):
				t.Errorf("left: %s", left)
			}
		})
	}
	if _, err := os.Lstat("/tmp/airplant-evil"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("written outside: %v", err)
	}
}

func prefixed(prefix string, list []rawEntry) []rawEntry {
	var all []rawEntry
	for _, e := range list {
		e.Name = prefix + e.Name
		all = append(all, e)
	}
	return all
}

// linkedLayer is an archive of docker's whose layer is a link.
func linkedLayer(kind byte, target string) []rawEntry {
	list := dockerFiles("")
	list[1].Name = "real.tar"
	return append(list, special(kind, "l/layer.tar", target))
}

// wrongBlob replaces the content of a layer.
func wrongBlob(list []rawEntry) rawEntry {
	for _, e := range list {
		if strings.HasPrefix(e.content, "\x1f\x8b") {
			return regular(e.Name, string(gzipped(tarOf("b", "b")).packed))
		}
	}
	panic("no layer")
}
