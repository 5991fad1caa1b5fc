package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// storeFormat is the version of the store's format that is written here.
const storeFormat = 1

const (
	formatFile = "image-store.json"
	namesDir   = "names"
	tmpDir     = "tmp"
	lockFile   = "lock"
	// cacheTag is what tells backup programs to leave a directory out
	// (Cache Directory Tagging Specification).
	cacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n# unpacked image layers, which can be pulled again\n"
)

var (
	blobsDir  = filepath.Join("blobs", "sha256")
	layersDir = filepath.Join("layers", "sha256")
)

// Store keeps images in a directory. It is safe for concurrent use, by any
// number of processes.
type Store struct{ dir string }

// Open opens the store in dir, and makes one if there is none.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir}
	text, err := os.ReadFile(s.path(formatFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = s.create()
	} else if err == nil {
		err = checkFormat(text)
	}
	if err != nil {
		return nil, &Error{Op: "open image store", Ref: dir, Err: err}
	}
	return s, nil
}

type formatRecord struct {
	Format int `json:"format"`
}

func checkFormat(text []byte) error {
	var f formatRecord
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("%s: %w", formatFile, err)
	}
	if f.Format > storeFormat {
		return fmt.Errorf("%w: it has format %d, this program knows up to %d", ErrFormat, f.Format, storeFormat)
	}
	if f.Format < 1 {
		return fmt.Errorf("%s: format %d", formatFile, f.Format)
	}
	return nil
}

// create makes the directories. The format comes last: until it is there, the
// next command creates again.
func (s *Store) create() error {
	for _, d := range []string{blobsDir, layersDir, namesDir, tmpDir} {
		if err := os.MkdirAll(s.path(d), 0o700); err != nil {
			return err
		}
	}
	layout, err := json.Marshal(v1.ImageLayout{Version: v1.ImageLayoutVersion})
	if err != nil {
		return err
	}
	format, err := json.Marshal(formatRecord{Format: storeFormat})
	if err != nil {
		return err
	}
	for _, f := range []struct {
		path string
		text []byte
	}{
		{filepath.Join("layers", "CACHEDIR.TAG"), []byte(cacheTag)},
		{v1.ImageLayoutFile, layout},
		{formatFile, format},
	} {
		if err := s.replace(f.path, f.text); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// replace writes a file of the store so that it has either the old or the new
// content, whatever happens.
func (s *Store) replace(name string, text []byte) error {
	if old, err := os.ReadFile(s.path(name)); err == nil && bytes.Equal(old, text) {
		return nil
	}
	f, err := os.CreateTemp(s.path(tmpDir), "file-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.path(name))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) { // some filesystems cannot sync directories
		return nil
	}
	return err
}

func (s *Store) blobPath(d digest.Digest) string { return s.path(blobsDir, d.Encoded()) }

func (s *Store) layerPath(chain digest.Digest) string { return s.path(layersDir, chain.Encoded()) }

func (s *Store) diffPath(chain digest.Digest) string {
	return filepath.Join(s.layerPath(chain), "diff")
}

// ReadBlob returns a manifest or configuration of the store, verified: what
// [Image.Config] leaves out, such as history and docker's health check.
func (s *Store) ReadBlob(d digest.Digest) ([]byte, error) {
	text, err := s.readBlob(d)
	if err != nil {
		return nil, &Error{Op: "read blob", Ref: string(d), Err: err}
	}
	return text, nil
}

func (s *Store) readBlob(d digest.Digest) ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	f, err := os.Open(s.blobPath(d))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err == nil && digest.FromBytes(text) != d {
		err = ErrDigest
	}
	return text, err
}

func exists(path string) bool {
	return unix.Access(path, unix.F_OK) == nil
}

// chainOf extracts the chain id from the path of an unpacked layer, "" if it
// is none of this store.
func (s *Store) chainOf(diff string) digest.Digest {
	hex, ok := strings.CutPrefix(filepath.Dir(diff), s.path(layersDir)+"/")
	if d := digest.Digest("sha256:" + hex); ok && d.Validate() == nil {
		return d
	}
	return ""
}
