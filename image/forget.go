package image

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Errors of [Store.Forget].
var (
	ErrSeveralNames = errors.New("the image has several names")
	ErrInUse        = errors.New("the image is in use")
)

// Forgotten tells what [Store.Forget] did.
type Forgotten struct {
	Untagged []string        // names that are gone
	Deleted  []digest.Digest // ids of images that are gone with them
}

// ForgetOptions says what may be forgotten.
type ForgetOptions struct {
	// Force removes all names of an image that is given by its id, and the
	// names of one that containers use, which then stays without a name.
	Force bool
	// Users names the containers of an image, by its id and the directories
	// of its layers.
	Users func(id digest.Digest, layers []string) []string
	// InUse are the layer directories of all containers, as for
	// [Store.Collect].
	InUse []string
}

// Forget removes a name, on all platforms, or by its id an image that has only
// one, and then what no image and no container needs.
func (s *Store) Forget(ctx context.Context, name string, opts ForgetOptions) (Forgotten, error) {
	var done Forgotten
	err := s.changeNames(ctx, func() (err error) {
		done, err = s.forget(name, opts)
		return err
	})
	if err == nil {
		err = s.Collect(ctx, opts.InUse)
	}
	if err != nil {
		hint := ""
		if errors.Is(err, ErrSeveralNames) || errors.Is(err, ErrInUse) {
			hint = "remove it with: airplant rmi -f " + name
		}
		return done, &Error{Op: "remove image", Ref: name, Err: err, Hint: hint}
	}
	return done, nil
}

func (s *Store) forget(name string, opts ForgetOptions) (Forgotten, error) {
	var done Forgotten
	all, err := s.records()
	if err != nil {
		return done, err
	}
	found, err := pickRecord(all, name, nil)
	if err != nil {
		return done, err
	}
	doomed := doomedRecords(all, found, name)
	if names := distinctNames(doomed); len(names) > 1 && !opts.Force {
		return done, fmt.Errorf("%w: %s", ErrSeveralNames, strings.Join(names, ", "))
	}
	var kept []*record
	for _, r := range doomed {
		if !lastOf(all, doomed, r) {
			continue
		}
		users := opts.Users(r.Config, s.image(r).Layers)
		if len(users) > 0 && !opts.Force {
			return done, fmt.Errorf("%w by container %s", ErrInUse, strings.Join(users, ", "))
		}
		if len(users) > 0 {
			kept = append(kept, r)
		} else if !slices.Contains(done.Deleted, r.Config) {
			done.Deleted = append(done.Deleted, r.Config)
		}
	}
	for _, r := range kept {
		nameless := *r
		nameless.Name, nameless.Source = untagged+string(r.Manifest.Digest), ""
		if err := s.putRecord(&nameless); err != nil {
			return done, err
		}
	}
	done.Untagged = distinctNames(doomed)
	for _, r := range doomed {
		if strings.HasPrefix(r.Name, untagged) && slices.Contains(kept, r) {
			continue
		}
		if err := s.dropRecord(r.Name, r.Platform); err != nil {
			return done, err
		}
	}
	return done, nil
}

// doomedRecords are those of a name, if it was one, else all of the image.
func doomedRecords(all []*record, found *record, name string) []*record {
	byName := false
	if ref, err := ParseReference(name); err == nil {
		ref, err = ref.Absolute()
		byName = err == nil && (found.Name == ref.String() || hasDigest(found, ref))
	}
	var list []*record
	for _, r := range all {
		if byName && r.Name == found.Name || !byName && r.Config == found.Config {
			list = append(list, r)
		}
	}
	return list
}

// distinctNames lists the names that images have, without those that have none.
func distinctNames(list []*record) []string {
	var names []string
	for _, r := range list {
		if !strings.HasPrefix(r.Name, untagged) && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names
}

// lastOf tells whether no record of the image is left without the doomed ones.
func lastOf(all, doomed []*record, of *record) bool {
	return !slices.ContainsFunc(all, func(r *record) bool {
		return r.Config == of.Config && !slices.Contains(doomed, r)
	})
}
