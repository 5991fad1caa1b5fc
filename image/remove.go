package image

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// collectWait is how long removing waits for those who use layers.
const collectWait = 2 * time.Second

// layer returns the record of a complete layer.
func (s *Store) layer(chain, diffID digest.Digest) (layerRecord, bool) {
	r, err := s.readLayer(chain)
	if err != nil || r.DiffID != diffID || !exists(s.diffPath(chain)) {
		return layerRecord{}, false
	}
	return r, true
}

func (s *Store) readLayer(chain digest.Digest) (layerRecord, error) {
	var r layerRecord
	text, err := os.ReadFile(filepath.Join(s.layerPath(chain), "layer.json"))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	return r, err
}

// Remove forgets a name, on all platforms, and then removes what no image and
// no container needs. inUse are the layer directories (see [Image.Layers]) of
// all containers.
func (s *Store) Remove(ctx context.Context, ref Reference, inUse []string) error {
	return explain("remove", ref, s.remove(ctx, ref, inUse))
}

func (s *Store) remove(ctx context.Context, ref Reference, inUse []string) error {
	ref, err := ref.Absolute()
	if err != nil {
		return err
	}
	found := false
	err = s.changeNames(ctx, func() error {
		records, err := s.records()
		if err != nil {
			return err
		}
		for _, r := range records {
			if r.Name != ref.String() {
				continue
			}
			found = true
			if err := os.Remove(s.path(namesDir, recordFile(r.Name, r.Platform))); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	if err != nil {
		return err
	}
	return s.Collect(ctx, inUse)
}

// Collect removes layers and blobs that no image has, except for the layer
// directories in inUse. While a pull runs or somebody holds the store, it does
// nothing: a later call will.
func (s *Store) Collect(ctx context.Context, inUse []string) error {
	ctx, cancel := context.WithTimeout(ctx, collectWait)
	defer cancel()
	lock, err := s.lock(ctx, unix.LOCK_EX)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	if err != nil {
		return &Error{Op: "collect garbage", Err: err}
	}
	defer lock.Close()
	if err := s.collect(inUse); err != nil {
		return &Error{Op: "collect garbage", Err: err}
	}
	return s.Sweep()
}

func (s *Store) collect(inUse []string) error {
	records, err := s.records()
	if err != nil {
		return err
	}
	live := s.live(records, inUse)
	return errors.Join(
		s.eachDead(layersDir, live, s.discard),
		s.eachDead(blobsDir, live, os.Remove),
	)
}

// live are the digests of all that an image or a container needs.
func (s *Store) live(records []*record, inUse []string) map[digest.Digest]bool {
	live := map[digest.Digest]bool{}
	for _, r := range records {
		for _, d := range append(append(r.Blobs, r.Layers...), r.Target, r.Manifest.Digest, r.Config) {
			live[d] = true
		}
	}
	for _, dir := range inUse {
		live[s.chainOf(dir)] = true
	}
	return live
}

// eachDead calls remove for what is not alive in a directory of digests.
func (s *Store) eachDead(dir string, live map[digest.Digest]bool, remove func(path string) error) error {
	entries, err := os.ReadDir(s.path(dir))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if d := digest.Digest("sha256:" + e.Name()); !live[d] {
			if err := remove(s.path(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// discard removes a layer by way of tmp, so that half of one is never seen.
func (s *Store) discard(path string) error {
	trash, err := os.MkdirTemp(s.path(tmpDir), "trash-")
	if err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(trash, "layer")); err != nil {
		return errors.Join(err, os.Remove(trash))
	}
	return os.RemoveAll(trash)
}
