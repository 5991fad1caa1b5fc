package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// record is what names/ holds for a name and platform: everything that is
// needed to run the image, so that Resolve reads one small file.
type record struct {
	Format   int             `json:"format"`
	Name     string          `json:"name"`
	Platform v1.Platform     `json:"platform"`
	Target   digest.Digest   `json:"target"`
	Manifest v1.Descriptor   `json:"manifest"`
	Config   digest.Digest   `json:"config"`
	Layers   []digest.Digest `json:"layers"` // chain ids, the bottom one first
	Blobs    []digest.Digest `json:"blobs"`  // all that this image needs
	Size     int64           `json:"size"`
	Pulled   time.Time       `json:"pulled"`
	Source   string          `json:"source,omitempty"` // state of an archive
	Image    v1.Image        `json:"image"`            // without history and diff ids
}

// HostPlatform is the platform of this program.
func HostPlatform() v1.Platform {
	return v1.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}
}

// ParsePlatform reads OS/ARCH[/VARIANT], or ARCH alone.
func ParsePlatform(s string) (v1.Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) == 1 {
		parts = []string{"linux", parts[0]}
	}
	for _, p := range parts {
		if !validTag(p) {
			return v1.Platform{}, fmt.Errorf("platform %q: want os/arch or os/arch/variant", s)
		}
	}
	if len(parts) > 3 {
		return v1.Platform{}, fmt.Errorf("platform %q: want os/arch or os/arch/variant", s)
	}
	p := v1.Platform{OS: strings.ToLower(parts[0]), Architecture: strings.ToLower(parts[1])}
	if len(parts) == 3 {
		p.Variant = strings.ToLower(parts[2])
	}
	return normalPlatform(p), nil
}

// normalPlatform settles on one spelling of a platform; the zero value means
// that of this program.
func normalPlatform(p v1.Platform) v1.Platform {
	if p.OS == "" && p.Architecture == "" {
		p = HostPlatform()
	}
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	case "i386", "i686":
		p.Architecture = "386"
	}
	if p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "8") || p.Architecture == "amd64" && p.Variant == "v1" {
		p.Variant = ""
	}
	if p.Architecture == "arm" && p.Variant == "" {
		p.Variant = "v7"
	}
	return v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}

func platformString(p v1.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// recordFile is the file for a name and a normal platform.
func recordFile(name string, p v1.Platform) string {
	escaped := url.QueryEscape(name)
	if len(escaped) > 180 {
		sum := sha256.Sum256([]byte(name))
		escaped = "sha256+" + hex.EncodeToString(sum[:])
	}
	return escaped + "," + url.QueryEscape(platformString(p)) + ".json"
}

func (s *Store) readRecord(file string) (*record, error) {
	text, err := os.ReadFile(s.path(namesDir, file))
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(namesDir, file), err)
	}
	if r.Format > storeFormat {
		return nil, fmt.Errorf("%w: %s has format %d", ErrFormat, filepath.Join(namesDir, file), r.Format)
	}
	for _, list := range [][]digest.Digest{{r.Target, r.Manifest.Digest, r.Config}, r.Layers, r.Blobs} {
		for _, d := range list {
			if err := d.Validate(); err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Join(namesDir, file), err)
			}
		}
	}
	return r, nil
}

// complete tells whether the layers of a record are there.
func (s *Store) complete(r *record) bool {
	for _, chain := range r.Layers {
		if !exists(s.diffPath(chain)) {
			return false
		}
	}
	return true
}

func (s *Store) image(r *record) *Image {
	i := &Image{
		Name: r.Name, ManifestDigest: r.Manifest.Digest, Target: r.Target, ConfigDigest: r.Config,
		Platform: r.Platform, Config: r.Image, Size: r.Size, Pulled: r.Pulled,
	}
	for _, chain := range slices.Backward(r.Layers) {
		i.Layers = append(i.Layers, s.diffPath(chain))
	}
	return i
}

// Resolve finds an image of the store. The zero platform is the host's. It
// reads one small file and takes no lock.
func (s *Store) Resolve(ref Reference, platform v1.Platform) (*Image, error) {
	r, err := s.resolve(ref, platform)
	if err != nil {
		return nil, explain("find image", ref, err)
	}
	return s.image(r), nil
}

func (s *Store) resolve(ref Reference, platform v1.Platform) (*record, error) {
	ref, err := ref.Absolute()
	if err != nil {
		return nil, err
	}
	r, err := s.readRecord(recordFile(ref.String(), normalPlatform(platform)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if r.Name != ref.String() {
		return nil, fmt.Errorf("its record belongs to %s", printable(r.Name))
	}
	if !s.complete(r) {
		return nil, fmt.Errorf("%w: some of its layers are missing", ErrNotFound)
	}
	return r, nil
}

// records reads all records.
func (s *Store) records() ([]*record, error) {
	entries, err := os.ReadDir(s.path(namesDir))
	if err != nil {
		return nil, err
	}
	var list []*record
	for _, e := range entries {
		r, err := s.readRecord(e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// Images lists the images of the store, the newest first.
func (s *Store) Images() ([]*Image, error) {
	records, err := s.records()
	if err != nil {
		return nil, &Error{Op: "list images", Err: err}
	}
	list := []*Image{}
	for _, r := range records {
		list = append(list, s.image(r))
	}
	slices.SortStableFunc(list, func(a, b *Image) int { return b.Pulled.Compare(a.Pulled) })
	return list, nil
}

// changeNames runs change while nobody else changes names, and then writes
// index.json anew from the records.
func (s *Store) changeNames(ctx context.Context, change func() error) error {
	f, err := os.Open(s.path(namesDir))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := waitLock(ctx, f, unix.LOCK_EX); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	records, err := s.records()
	if err != nil {
		return err
	}
	index := v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{},
	}
	for _, r := range records {
		d := r.Manifest
		d.Platform = &r.Platform
		if !strings.HasPrefix(r.Name, untagged) {
			d.Annotations = map[string]string{v1.AnnotationRefName: r.Name}
		}
		index.Manifests = append(index.Manifests, d)
	}
	text, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return s.replace(v1.ImageIndexFile, text)
}

func (s *Store) writeRecord(ctx context.Context, r *record) error {
	return s.changeNames(ctx, func() error {
		if err := s.displace(r); err != nil {
			return err
		}
		if err := s.putRecord(r); err != nil {
			return err
		}
		return syncDir(s.path(namesDir))
	})
}
