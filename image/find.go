package image

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// untagged begins the name of an image that has none of its own: its tag was
// moved to another image, or it never had one. No reference looks like it.
const untagged = "<none>@"

// Untagged tells whether the image has no name.
func (i *Image) Untagged() bool { return strings.HasPrefix(i.Name, untagged) }

// ErrAmbiguous means that the beginning of an id fits several images.
var ErrAmbiguous = errors.New("several images have an id that begins so")

// Find finds the images that a person may mean: all names of the image that
// has the given reference, id, beginning of an id, or digest. A nil platform
// is the host's where the name has an image for it, and else any. The first
// image is the one that was named.
func (s *Store) Find(name string, platform *v1.Platform) ([]*Image, error) {
	records, err := s.find(name, platform)
	if err != nil {
		return nil, &Error{Op: "find image", Ref: name, Err: err}
	}
	var list []*Image
	for _, r := range records {
		list = append(list, s.image(r))
	}
	return list, nil
}

func (s *Store) find(name string, platform *v1.Platform) ([]*record, error) {
	records, err := s.records()
	if err != nil {
		return nil, err
	}
	found, err := pickRecord(records, name, platform)
	if err != nil {
		return nil, err
	}
	list := []*record{found}
	for _, r := range records {
		if r.Config == found.Config && r != found {
			list = append(list, r)
		}
	}
	slices.SortStableFunc(list[1:], func(a, b *record) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// pickRecord chooses by name first, then by digest, then by id, as docker does.
func pickRecord(records []*record, name string, platform *v1.Platform) (*record, error) {
	ref, parseErr := ParseReference(name)
	if parseErr == nil {
		var err error
		if ref, err = ref.Absolute(); err != nil {
			return nil, err
		}
		if r := bestPlatform(records, platform, func(r *record) bool { return r.Name == ref.String() || hasDigest(r, ref) }); r != nil {
			return r, nil
		}
	}
	hex := strings.TrimPrefix(name, "sha256:")
	if len(hex) < 2 || len(hex) > 64 || !isHex(hex) {
		return nil, errors.Join(parseErr, ErrNotFound)
	}
	ids := map[digest.Digest]bool{}
	r := bestPlatform(records, platform, func(r *record) bool {
		for _, d := range []digest.Digest{r.Config, r.Manifest.Digest, r.Target} {
			if strings.HasPrefix(d.Encoded(), hex) {
				ids[r.Config] = true
				return true
			}
		}
		return false
	})
	switch {
	case r == nil:
		return nil, ErrNotFound
	case len(ids) > 1 && len(hex) < 64:
		return nil, fmt.Errorf("%w: %d of them", ErrAmbiguous, len(ids))
	}
	return r, nil
}

// hasDigest tells whether NAME@DIGEST means the image, whatever its tag.
func hasDigest(r *record, ref Reference) bool {
	return ref.Digest != "" && (r.Target == ref.Digest || r.Manifest.Digest == ref.Digest) &&
		repositoryOf(r.Name) == ref.Host+"/"+ref.Repository
}

// repositoryOf is the name of an image of a registry without tag and digest,
// "" for others.
func repositoryOf(name string) string {
	ref, err := ParseReference(name)
	if err != nil || ref.Transport != Registry {
		return ""
	}
	return ref.Host + "/" + ref.Repository
}

// bestPlatform finds the record for a platform; without one, that of the host
// comes first.
func bestPlatform(records []*record, platform *v1.Platform, match func(*record) bool) *record {
	var best *record
	for _, r := range records {
		if !match(r) {
			continue
		}
		switch {
		case platform != nil && platformString(r.Platform) != platformString(normalPlatform(*platform)):
		case best == nil, platformString(r.Platform) == platformString(normalPlatform(HostPlatform())):
			best = r
		}
	}
	return best
}

// Tag gives an image, on the platform that it was found for, a further name.
func (s *Store) Tag(ctx context.Context, i *Image, name Reference) error {
	return explain("tag", name, s.tag(ctx, i, name))
}

func (s *Store) tag(ctx context.Context, i *Image, name Reference) error {
	switch {
	case name.Transport != Registry:
		return fmt.Errorf("%s:PATH cannot be a name", name.Transport)
	case name.Digest != "":
		return errors.New("a name with a digest cannot be given")
	}
	r, err := s.readRecord(recordFile(i.Name, i.Platform))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound // removed meanwhile
	}
	if err != nil {
		return err
	}
	r.Name, r.Source = name.String(), ""
	if err := s.writeRecord(ctx, r); err != nil || !i.Untagged() {
		return err
	}
	return s.changeNames(ctx, func() error { return s.dropRecord(i.Name, i.Platform) })
}

func (s *Store) dropRecord(name string, p v1.Platform) error {
	err := os.Remove(s.path(namesDir, recordFile(name, p)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// displace keeps the image whose name another one is about to take, without a
// name unless it has more: a container may have been made of it. The caller
// holds the lock on names.
func (s *Store) displace(next *record) error {
	old, err := s.readRecord(recordFile(next.Name, next.Platform))
	if errors.Is(err, fs.ErrNotExist) || err == nil && old.Config == next.Config {
		return nil
	}
	if err != nil || !s.complete(old) {
		return nil //nolint:nilerr // what cannot be read is not worth keeping
	}
	records, err := s.records()
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Config == old.Config && r.Name != old.Name {
			return nil
		}
	}
	old.Name, old.Source = untagged+string(old.Manifest.Digest), ""
	return s.putRecord(old)
}

func (s *Store) putRecord(r *record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return s.replace(filepath.Join(namesDir, recordFile(r.Name, r.Platform)), text)
}
