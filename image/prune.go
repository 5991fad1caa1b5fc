package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// Usage is what the store takes on disk, in bytes. What is shared counts once.
type Usage struct {
	Images      int   `json:"images"`
	Layers      int   `json:"layers"`
	LayerBytes  int64 `json:"layerBytes"` // in files
	Blobs       int   `json:"blobs"`
	BlobBytes   int64 `json:"blobBytes"`
	Partial     int   `json:"partial"` // downloads to go on from
	PartialSize int64 `json:"partialBytes"`
	// Unused is the part of layers and blobs that no image and no container
	// needs, and that of partial downloads.
	Unused int64 `json:"unusedBytes"`
}

// Usage counts what there is. inUse is as for [Store.Collect].
func (s *Store) Usage(inUse []string) (Usage, error) {
	u, err := s.usage(inUse)
	if err != nil {
		return u, &Error{Op: "count image store", Err: err}
	}
	return u, nil
}

func (s *Store) usage(inUse []string) (Usage, error) {
	var u Usage
	records, err := s.records()
	if err != nil {
		return u, err
	}
	live := s.live(records, inUse)
	ids := map[digest.Digest]bool{}
	for _, r := range records {
		ids[r.Config] = true
	}
	u.Images = len(ids)
	count := func(dir string, n *int, bytes *int64, size func(name string) int64) error {
		entries, err := os.ReadDir(s.path(dir))
		for _, e := range entries {
			b := size(e.Name())
			*n, *bytes = *n+1, *bytes+b
			if !live[digest.Digest("sha256:"+e.Name())] {
				u.Unused += b
			}
		}
		return err
	}
	err = errors.Join(
		count(layersDir, &u.Layers, &u.LayerBytes, s.layerBytes),
		count(blobsDir, &u.Blobs, &u.BlobBytes, func(name string) int64 { return fileSize(s.path(blobsDir, name)) }),
	)
	for _, dir := range s.partials() {
		u.Partial++
		u.PartialSize += fileSize(filepath.Join(dir, partialName))
	}
	u.Unused += u.PartialSize
	return u, err
}

func (s *Store) layerBytes(hex string) int64 {
	r, err := s.readLayer(digest.Digest("sha256:" + hex))
	if err != nil {
		return 0
	}
	return r.Bytes
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// partials lists the workspaces with parts of blobs.
func (s *Store) partials() []string {
	entries, err := os.ReadDir(s.path(tmpDir))
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if dir := s.path(tmpDir, e.Name()); strings.HasPrefix(e.Name(), partialPrefix) && exists(filepath.Join(dir, partialName)) {
			list = append(list, dir)
		}
	}
	return list
}

// ErrBusy means that a pull runs, or that somebody holds the store.
var ErrBusy = errors.New("images are being pulled or run")

// Prune removes what no image and no container needs, and all that is left of
// interrupted pulls. It tells how many bytes of files that was.
func (s *Store) Prune(ctx context.Context, inUse []string) (int64, error) {
	wait, cancel := context.WithTimeout(ctx, collectWait)
	defer cancel()
	lock, err := s.lock(wait, unix.LOCK_EX)
	if errors.Is(err, context.DeadlineExceeded) {
		err = ErrBusy
	}
	if err != nil {
		return 0, &Error{Op: "prune", Err: err, Hint: "end it, or try again later"}
	}
	defer lock.Close()
	before, err := s.usage(inUse)
	if err == nil {
		err = s.collect(inUse)
	}
	for _, dir := range s.partials() {
		if gone := os.RemoveAll(dir); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	after, afterErr := s.usage(inUse)
	if err := errors.Join(err, afterErr, s.Sweep()); err != nil {
		return 0, &Error{Op: "prune", Err: err}
	}
	return before.Unused - after.Unused, nil
}

// ForgetOnly removes the name of an image on its platform, and leaves what it
// consists of to [Store.Prune].
func (s *Store) ForgetOnly(ctx context.Context, i *Image) error {
	err := s.changeNames(ctx, func() error { return s.dropRecord(i.Name, i.Platform) })
	if err != nil {
		return &Error{Op: "remove image", Ref: i.Name, Err: err}
	}
	return nil
}
