package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"airplant/image/layer"
)

// Limits of an archive; a layout has a few dozen files.
const (
	maxArchive      = 100_000   // files
	maxArchiveName  = 1024      // bytes in the name of one, which are kept in memory
	maxArchiveBytes = 256 << 30 // of what is in a compressed one
	maxImages       = 1000
)

// archiveFiles reads the files of a tar in place: it keeps where each one
// lies. The tar may not be compressed.
type archiveFiles struct {
	file  *os.File
	index map[string]span
	links map[string]string
}

type span struct{ offset, size int64 }

func openArchive(name string) (*archiveFiles, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, unsupportedf("%s is not a regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	a := newArchiveFiles(f)
	if err := a.scan(); err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

func newArchiveFiles(f *os.File) *archiveFiles {
	return &archiveFiles{file: f, index: map[string]span{}, links: map[string]string{}}
}

func (a *archiveFiles) scan() error {
	tr := tar.NewReader(a.file) // seeks over what is not read
	for range maxArchive {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return unsupportedf("not an oci-archive, which is an uncompressed tar: %v", err)
		}
		name := path.Clean("/" + h.Name)[1:]
		if len(name) > maxArchiveName || len(h.Linkname) > maxArchiveName {
			return unsupportedf("archive with a name of more than %d bytes", maxArchiveName)
		}
		if layer.IsSparse(h) {
			return unsupportedf("archive with a sparse file, %q", name) // it does not lie as it is read
		}
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeLink: // what lies before it, under a further name
			if s, ok := a.index[path.Clean("/" + h.Linkname)[1:]]; ok {
				a.index[name] = s
			}
			continue
		case tar.TypeSymlink: // old dockers so link layers that occur twice
			a.links[name] = path.Join("/", path.Dir(name), h.Linkname)[1:]
			continue
		default:
			continue
		}
		at, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		a.index[name] = span{offset: at, size: h.Size}
	}
	return unsupportedf("archive with more than %d files", maxArchive)
}

func (a *archiveFiles) open(name string) (io.ReadCloser, error) {
	s, ok := a.index[name]
	if target, linked := a.links[name]; linked && !ok {
		s, ok = a.index[target]
	}
	if !ok {
		return nil, &fs.PathError{Op: "open in archive", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(a.file, s.offset, s.size)), nil
}

func (a *archiveFiles) close() error { return a.file.Close() }
