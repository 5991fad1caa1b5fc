package image

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"airplant/image/layer"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of docker's image manifest version 2, schema 2.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
	dockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar"
)

const (
	maxConfig = 8 << 20
	maxBlob   = layer.MaxBytes
	// maxLayers is what overlayfs stacks (OVL_MAX_STACK).
	maxLayers = 500
)

var manifestTypes = []string{v1.MediaTypeImageManifest, dockerManifest}

var indexTypes = []string{v1.MediaTypeImageIndex, dockerList}

// accepted are the media types to ask a registry for.
func accepted() []string { return append(slices.Clone(manifestTypes), indexTypes...) }

func unsupportedf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, args...)...)
}

// document is a manifest or an index; which one, the parser decides.
type document struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	Config        *v1.Descriptor  `json:"config"`
	Layers        []v1.Descriptor `json:"layers"`
	Manifests     []v1.Descriptor `json:"manifests"`
	FSLayers      json.RawMessage `json:"fsLayers"` // of schema 1
	ArtifactType  string          `json:"artifactType"`
}

// parseDocument reads a manifest or index. mediaType is what its descriptor
// or the registry called it, and may be empty. A document that could be read
// as both is refused (CVE-2021-41190).
func parseDocument(text []byte, mediaType string) (*document, error) {
	if len(text) > maxManifest {
		return nil, unsupportedf("manifest of %d bytes", len(text))
	}
	d := &document{}
	if err := parseJSON(text, d); err != nil {
		return nil, unsupportedf("manifest: %v", err)
	}
	if d.SchemaVersion == 1 || d.FSLayers != nil || strings.Contains(mediaType, "docker.distribution.manifest.v1") {
		return nil, unsupportedf("docker image manifest of schema 1; push the image again with a newer tool")
	}
	if d.SchemaVersion != 2 {
		return nil, unsupportedf("manifest of schema version %d", d.SchemaVersion)
	}
	if d.MediaType == "" {
		d.MediaType = mediaType
	}
	known := slices.Contains(accepted(), d.MediaType)
	if mediaType != "" && d.MediaType != mediaType && slices.Contains(accepted(), mediaType) {
		return nil, unsupportedf("manifest says it is %q and was announced as %q", d.MediaType, mediaType)
	}
	if d.MediaType != "" && !known && !strings.HasPrefix(d.MediaType, "application/json") &&
		d.MediaType != "application/octet-stream" && d.MediaType != "text/plain" {
		return nil, unsupportedf("media type %q", d.MediaType)
	}
	isIndex := d.Manifests != nil
	if isIndex && (d.Layers != nil || d.Config != nil) {
		return nil, unsupportedf("document with both layers and manifests")
	}
	if known && isIndex != slices.Contains(indexTypes, d.MediaType) {
		return nil, unsupportedf("document of type %q with the content of another", d.MediaType)
	}
	if isIndex {
		d.MediaType = typeOr(d.MediaType, indexTypes, v1.MediaTypeImageIndex)
		return d, checkDescriptors(d.Manifests)
	}
	d.MediaType = typeOr(d.MediaType, manifestTypes, v1.MediaTypeImageManifest)
	return d, d.checkManifest()
}

func typeOr(mediaType string, known []string, fallback string) string {
	if slices.Contains(known, mediaType) {
		return mediaType
	}
	return fallback
}

func (d *document) checkManifest() error {
	if d.Config == nil {
		return unsupportedf("manifest without config")
	}
	if t := d.Config.MediaType; t != v1.MediaTypeImageConfig && t != dockerConfig {
		return artifact(cmp.Or(d.ArtifactType, t))
	}
	if d.Config.Size > maxConfig {
		return unsupportedf("configuration of %d bytes", d.Config.Size)
	}
	if len(d.Layers) > maxLayers {
		return unsupportedf("%d layers, more than %d", len(d.Layers), maxLayers)
	}
	for _, l := range d.Layers {
		if err := checkLayerType(l.MediaType); err != nil {
			return err
		}
		if l.Size > maxBlob {
			return unsupportedf("layer of %d bytes, more than %d", l.Size, int64(maxBlob))
		}
	}
	return checkDescriptors(append([]v1.Descriptor{*d.Config}, d.Layers...))
}

// artifact refuses what registries hold beside images.
func artifact(mediaType string) error {
	what := "an artifact"
	for _, known := range [][2]string{
		{"helm", "a Helm chart"},
		{"wasm", "a WebAssembly module"},
		{"cosign", "a signature"},
		{"sigstore", "a signature"},
		{"in-toto", "an attestation"},
		{"cyclonedx", "a bill of materials"},
		{"spdx", "a bill of materials"},
	} {
		if strings.Contains(mediaType, known[0]) {
			what = known[1]
			break
		}
	}
	return unsupportedf("%s (type %q), not a container image", what, mediaType)
}

func checkLayerType(t string) error {
	if strings.Contains(t, "encrypted") {
		return unsupportedf("encrypted layer (media type %q)", t)
	}
	base := strings.TrimSuffix(t, "+gzip")
	base = strings.TrimSuffix(base, "+zstd")
	base = strings.TrimSuffix(base, ".gzip")
	base = strings.TrimSuffix(base, ".zstd")
	switch base {
	case v1.MediaTypeImageLayer, dockerLayer, dockerForeign,
		v1.MediaTypeImageLayerNonDistributable: //nolint:staticcheck // old images have it
		return nil
	}
	return unsupportedf("layer of media type %q", t)
}

func checkDescriptors(list []v1.Descriptor) error {
	for _, d := range list {
		if err := d.Digest.Validate(); err != nil {
			return unsupportedf("descriptor: %v", err)
		}
		if d.Size < 0 {
			return unsupportedf("descriptor of %s: size %d", d.Digest, d.Size)
		}
	}
	return nil
}

// maxUntold is how many indexes without a platform are looked into.
const maxUntold = 16

// maxFollowed is how many documents are fetched in search of a platform: indexes
// that lead to each other 16 times, 8 deep, would never end.
const maxFollowed = 64

// choose finds what to follow in an index: the manifest of the exact variant,
// else the best one that the platform can run, and else the entries that do
// not tell, in their order: further indexes, or a single manifest.
func choose(list []v1.Descriptor, want v1.Platform) ([]v1.Descriptor, error) {
	var best *v1.Descriptor
	bestRank := 0
	var have []string
	var untold []v1.Descriptor
	for i, d := range list {
		if d.Platform == nil || d.Platform.OS == "" && d.Platform.Architecture == "" {
			if len(list) == 1 || slices.Contains(indexTypes, d.MediaType) {
				untold = append(untold, d)
			}
			continue
		}
		got := normalPlatform(*d.Platform)
		if got.OS != "unknown" && !slices.Contains(have, platformString(got)) { // attestations
			have = append(have, platformString(got))
		}
		if r := rank(got, want); r > bestRank {
			best, bestRank = &list[i], r
		}
	}
	if best != nil {
		return []v1.Descriptor{*best}, nil
	}
	if len(untold) > 0 {
		return untold[:min(len(untold), maxUntold)], nil
	}
	if len(have) > 20 {
		have = append(have[:20], "…")
	}
	return nil, fmt.Errorf("%w: wanted %s, the index has %s", ErrNoPlatform,
		platformString(want), strings.Join(have, ", "))
}

// rank tells how well an image for got runs on want: 0 not at all, else the
// more the better.
func rank(got, want v1.Platform) int {
	if got.OS != want.OS || got.Architecture != want.Architecture {
		return 0
	}
	if got.Variant == want.Variant {
		return 100
	}
	g, w := level(got.Variant), level(want.Variant)
	if got.Variant == "" {
		return 50
	}
	// arm/v7 runs v6 and v5; amd64 of unknown level runs no v2.
	if w > 0 && g > 0 && g < w {
		return 50 + g
	}
	return 0
}

// level is the number in a variant such as "v7", 0 if there is none.
func level(variant string) int {
	if len(variant) == 2 && variant[0] == 'v' && variant[1] >= '1' && variant[1] <= '9' {
		return int(variant[1] - '0')
	}
	return 0
}

// parseConfig reads an image's configuration and checks it against its
// manifest and the wanted platform.
func parseConfig(text []byte, layers int, want v1.Platform) (*v1.Image, error) {
	c := &v1.Image{}
	if err := parseJSON(text, c); err != nil {
		return nil, unsupportedf("configuration: %v", err)
	}
	if c.RootFS.Type != "layers" {
		return nil, unsupportedf("rootfs of type %q", c.RootFS.Type)
	}
	if len(c.RootFS.DiffIDs) != layers {
		return nil, unsupportedf("configuration with %d diff ids for %d layers", len(c.RootFS.DiffIDs), layers)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := d.Validate(); err != nil {
			return nil, unsupportedf("diff id: %v", err)
		}
	}
	if c.OS == "" && c.Architecture == "" {
		return c, nil
	}
	got := normalPlatform(c.Platform)
	if got.OS != want.OS || got.Architecture != want.Architecture {
		return nil, fmt.Errorf("%w: wanted %s, the image is for %s", ErrNoPlatform,
			platformString(want), platformString(got))
	}
	return c, nil
}

// chainIDs computes the ids of the stack up to each layer (image-spec,
// config.md).
func chainIDs(diffIDs []digest.Digest) []digest.Digest {
	var chain []digest.Digest
	for i, d := range diffIDs {
		if i > 0 {
			d = digest.FromString(string(chain[i-1]) + " " + string(d))
		}
		chain = append(chain, d)
	}
	return chain
}

var errTooLarge = errors.New("more bytes than announced")
