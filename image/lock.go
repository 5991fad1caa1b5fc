package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that another process holds is asked for. A
// blocking flock(2) could not be cancelled.
const lockPoll = 10 * time.Millisecond

// tryLock takes a lock of flock(2), which ends with its process.
func tryLock(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		default:
			return false, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

func waitLock(ctx context.Context, f *os.File, how int) error {
	for {
		ok, err := tryLock(f, how)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("lock %s: %w", f.Name(), ctx.Err())
		case <-time.After(lockPoll):
		}
	}
}

// lock locks the store's lock file, shared or exclusive.
func (s *Store) lock(ctx context.Context, how int) (*os.File, error) {
	f, err := os.OpenFile(s.path(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := waitLock(ctx, f, how); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Hold keeps layers from being removed until release is called: for the time
// between resolving an image and writing down that a container uses it.
// Holders do not wait for each other.
func (s *Store) Hold(ctx context.Context) (release func(), err error) {
	f, err := s.lock(ctx, unix.LOCK_SH)
	if err != nil {
		return nil, &Error{Op: "hold image store", Err: err}
	}
	return func() { f.Close() }, nil
}

// workspace is a directory below tmp that its owner has locked. Its name is
// that of the object which is made in it, so that it is the lock of the
// object, too.
type workspace struct {
	dir  string
	lock *os.File
	keep bool // what was downloaded
}

// workspace waits for the object called name to be nobody's, and makes an
// empty directory for it.
func (s *Store) workspace(ctx context.Context, name string) (*workspace, error) {
	w := &workspace{dir: s.path(tmpDir, name)}
	for {
		ok, err := w.take(ctx)
		if err != nil {
			return nil, err
		}
		if ok {
			break
		}
	}
	if w.keep = strings.HasPrefix(name, partialPrefix); w.keep {
		return w, nil
	}
	if err := w.empty(); err != nil { // left by an owner who died
		w.close()
		return nil, err
	}
	return w, nil
}

const (
	// partialPrefix begins the names of workspaces for blobs. What was
	// downloaded of one stays there for the next pull.
	partialPrefix = "blob-"
	// partialName is the file in it.
	partialName = "data"
	// partialAge is how long it stays.
	partialAge = 7 * 24 * time.Hour
)

// take locks the directory. It reports false if the directory was removed
// between being opened and being locked.
func (w *workspace) take(ctx context.Context) (bool, error) {
	if err := os.Mkdir(w.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return false, err
	}
	f, err := os.Open(w.dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := waitLock(ctx, f, unix.LOCK_EX); err != nil {
		f.Close()
		return false, err
	}
	if !sameFile(f, w.dir) {
		f.Close()
		return false, nil
	}
	w.lock = f
	return true, nil
}

func sameFile(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

func (w *workspace) path(name string) string { return filepath.Join(w.dir, name) }

func (w *workspace) empty() error {
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(w.path(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// close removes the directory, unless there is something to keep in it, and
// then gives the lock up.
func (w *workspace) close() {
	if !w.keep || !worthKeeping(w.dir) {
		_ = os.RemoveAll(w.dir) // what stays is removed by the next sweep
	}
	w.lock.Close()
}

// worthKeeping tells whether a workspace holds a part of a blob.
func worthKeeping(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, partialName))
	return err == nil && info.Size() > 0 && time.Since(info.ModTime()) < partialAge
}

// Sweep removes what processes that died have left in tmp, except for what
// the next pull can go on from. A pull does it by itself.
func (s *Store) Sweep() error {
	entries, err := os.ReadDir(s.path(tmpDir))
	if err != nil {
		return &Error{Op: "sweep image store", Err: err}
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, s.sweep(e))
	}
	if err := errors.Join(errs...); err != nil {
		return &Error{Op: "sweep image store", Err: err}
	}
	return nil
}

// fileGrace is how old a single file in tmp must be to count as left behind;
// they are written in an instant and carry no lock.
const fileGrace = time.Hour

func (s *Store) sweep(e os.DirEntry) error {
	path := s.path(tmpDir, e.Name())
	if !e.IsDir() {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < fileGrace {
			return nil //nolint:nilerr // it is gone
		}
		return os.Remove(path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil //nolint:nilerr // it is gone
	}
	defer f.Close()
	free, err := tryLock(f, unix.LOCK_EX)
	if err != nil || !free || !sameFile(f, path) {
		return err
	}
	if strings.HasPrefix(e.Name(), partialPrefix) && worthKeeping(path) {
		return nil
	}
	return os.RemoveAll(path)
}
