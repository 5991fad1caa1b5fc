package image

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestParseDocument(t *testing.T) {
	const hex = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	desc := func(mediaType string) string {
		return `{"mediaType":"` + mediaType + `","size":1,"digest":"` + hex + `"}`
	}
	config := `"config":` + desc(v1.MediaTypeImageConfig)
	for name, c := range map[string]struct{ text, mediaType, err string }{
		"oci":      {`{"schemaVersion":2,` + config + `,"layers":[` + desc(v1.MediaTypeImageLayerGzip) + `]}`, v1.MediaTypeImageManifest, ""},
		"untyped":  {`{"schemaVersion":2,` + config + `,"layers":[]}`, "", ""},
		"docker":   {`{"schemaVersion":2,"mediaType":"` + dockerManifest + `","config":` + desc(dockerConfig) + `,"layers":[` + desc(dockerLayer+".gzip") + `]}`, dockerManifest, ""},
		"index":    {`{"schemaVersion":2,"manifests":[` + desc(v1.MediaTypeImageManifest) + `]}`, v1.MediaTypeImageIndex, ""},
		"both":     {`{"schemaVersion":2,` + config + `,"layers":[],"manifests":[]}`, "", "both layers and manifests"},
		"confused": {`{"schemaVersion":2,"manifests":[]}`, v1.MediaTypeImageManifest, "with the content of another"},
		"lied":     {`{"schemaVersion":2,"mediaType":"` + dockerManifest + `",` + config + `,"layers":[]}`, v1.MediaTypeImageManifest, "was announced as"},
		"schema 1": {`{"schemaVersion":1,"fsLayers":[]}`, "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"},
		"schema 3": {`{"schemaVersion":3}`, "", "schema version 3"},
		"artifact": {`{"schemaVersion":2,"config":` + desc("application/vnd.cncf.helm.config.v1+json") + `,"layers":[]}`, "", "helm"},
		"encrypted": {
			`{"schemaVersion":2,` + config + `,"layers":[` + desc(v1.MediaTypeImageLayerGzip+"+encrypted") + `]}`, "",
			"encrypted layer",
		},
		"odd layer":  {`{"schemaVersion":2,` + config + `,"layers":[` + desc("text/plain") + `]}`, "", `"text/plain"`},
		"odd type":   {`{"schemaVersion":2,` + config + `,"layers":[]}`, "text/html", `"text/html"`},
		"no config":  {`{"schemaVersion":2,"layers":[]}`, "", "without config"},
		"not JSON":   {`<html>`, "", "manifest"},
		"bad digest": {strings.ReplaceAll(`{"schemaVersion":2,`+config+`,"layers":[]}`, hex, "sha256:../../x"), "", "digest"},
		"negative":   {strings.ReplaceAll(`{"schemaVersion":2,`+config+`,"layers":[]}`, `"size":1`, `"size":-1`), "", "size -1"},
		"huge":       {`{"schemaVersion":2,"x":"` + strings.Repeat("x", 5<<20) + `"}`, "", "bytes"},
		"many":       {`{"schemaVersion":2,` + config + `,"layers":[` + strings.Repeat(desc(v1.MediaTypeImageLayer)+",", 600) + desc(v1.MediaTypeImageLayer) + `]}`, "", "601 layers"},
	} {
		_, err := parseDocument([]byte(c.text), c.mediaType)
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.err != "" && (!errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: got %v, want %q", name, err, c.err)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	fix := newFixture()
	d := fix.twoLayers("x")
	f.Add(fix.blobs[d.Digest], v1.MediaTypeImageManifest)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:00"}]}`), "")
	f.Fuzz(func(t *testing.T, text []byte, mediaType string) {
		doc, err := parseDocument(text, mediaType)
		if err != nil {
			return
		}
		for _, l := range append(doc.Layers, doc.Manifests...) {
			if l.Digest.Validate() != nil || l.Size < 0 {
				t.Errorf("accepted %+v", l)
			}
		}
		if doc.Manifests == nil && doc.Config == nil {
			t.Error("neither a manifest nor an index")
		}
		_, _ = choose(doc.Manifests, HostPlatform())
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig(text, 0, HostPlatform())
		if err == nil && c.RootFS.Type != "layers" {
			t.Error("accepted")
		}
		if err == nil {
			i := &Image{Config: *c, Layers: []string{os.TempDir()}}
			_, _ = i.Volumes()
			_, _ = json.Marshal(c)
		}
	})
}

func TestChoose(t *testing.T) {
	platforms := func(list ...string) []v1.Descriptor {
		var out []v1.Descriptor
		for _, s := range list {
			d := v1.Descriptor{Digest: digest.FromString(s)}
			parts := strings.Split(s, "/")
			d.Platform = &v1.Platform{OS: parts[0], Architecture: parts[1]}
			if len(parts) > 2 {
				d.Platform.Variant = parts[2]
			}
			out = append(out, d)
		}
		return out
	}
	all := platforms("linux/amd64", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "windows/amd64", "unknown/unknown")
	for want, c := range map[string]struct {
		list []v1.Descriptor
		pick string // "" for none
	}{
		"linux/amd64":    {all, "linux/amd64"},
		"linux/arm":      {all, "linux/arm/v7"},
		"linux/arm/v6":   {all, "linux/arm/v6"},
		"linux/arm64":    {all, "linux/arm64/v8"},
		"linux/arm64/v8": {all, "linux/arm64/v8"},
		"arm64":          {all, "linux/arm64/v8"},
		"linux/aarch64":  {all, "linux/arm64/v8"},
		"linux/arm/v7":   {platforms("linux/arm/v5", "linux/arm/v6", "linux/arm64"), "linux/arm/v6"},
		"linux/amd64/v3": {platforms("linux/amd64", "linux/amd64/v2", "linux/amd64/v4"), "linux/amd64/v2"},
		"x86_64":         {platforms("linux/amd64/v2", "linux/amd64"), "linux/amd64"},
		"linux/s390x":    {all, ""},
		"linux/386":      {nil, ""},
	} {
		p, err := ParsePlatform(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := choose(c.list, p)
		if c.pick == "" {
			if !errors.Is(err, ErrNoPlatform) {
				t.Errorf("%s: got %v, %v", want, got, err)
			}
			continue
		}
		if err != nil || len(got) != 1 || got[0].Digest != digest.FromString(c.pick) {
			t.Errorf("%s: got %v, %v, want %s", want, got, err, c.pick)
		}
	}
	for _, bad := range []string{"", "a/b/c/d", "linux/", "/amd64", "linux/../x"} {
		if p, err := ParsePlatform(bad); err == nil {
			t.Errorf("%q: got %v", bad, p)
		}
	}
}

// TestChainIDs follows the definition in the image-spec, config.md.
func TestChainIDs(t *testing.T) {
	a, b := digest.FromString("a"), digest.FromString("b")
	got := chainIDs([]digest.Digest{a, b})
	if got[0] != a || got[1] != digest.FromString(string(a)+" "+string(b)) {
		t.Errorf("got %v", got)
	}
}
