package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Load reads all images of what [Store.SaveArchive], [Store.SaveDocker],
// [Store.SaveLayout], docker, podman, skopeo and others write: a directory in
// OCI image layout, or a tar of one or of `docker save`, perhaps compressed.
// each is called for every image that is in the store.
func (s *Store) Load(ctx context.Context, in *os.File, opts PullOptions, each func(*Image)) error {
	if err := s.load(ctx, in, opts, each); err != nil {
		var done *Error
		if errors.As(err, &done) {
			return err
		}
		return &Error{Op: "load images", Err: err}
	}
	return nil
}

func (s *Store) load(ctx context.Context, in *os.File, opts PullOptions, each func(*Image)) error {
	files, err := s.openImages(ctx, in, opts)
	if err != nil {
		return err
	}
	defer files.close()
	list, err := entries(files)
	if err != nil {
		return err
	}
	loaded, skipped := 0, error(nil)
	for _, e := range list {
		r, err := s.loadEntry(ctx, e, opts)
		if errors.Is(err, ErrUnsupported) && len(list) > 1 {
			skipped = errors.Join(skipped, err) // attestations and other artifacts lie beside images
			continue
		}
		if err != nil {
			return err
		}
		loaded++
		for _, name := range e.names {
			r.Name = name
			if err := s.writeRecord(ctx, r); err != nil {
				return err
			}
			each(s.image(r))
		}
		if len(e.names) == 0 {
			each(s.image(r))
		}
	}
	if loaded == 0 {
		return errors.Join(fmt.Errorf("%w: the archive holds no image", ErrNotFound), skipped)
	}
	return nil
}

// openImages gives access to the files of a directory or an archive.
func (s *Store) openImages(ctx context.Context, in *os.File, opts PullOptions) (files, error) {
	info, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return dirFiles(in.Name()), nil
	}
	f := in
	if head := make([]byte, 6); !info.Mode().IsRegular() || !isPlain(in, head) {
		if f, err = s.spool(ctx, in, opts); err != nil {
			return nil, err
		}
	}
	a := newArchiveFiles(f)
	if err := a.scan(); err != nil {
		if f != in {
			f.Close()
		}
		return nil, err
	}
	if f == in {
		return keepOpen{a}, nil
	}
	return a, nil
}

// keepOpen leaves a file to the one that opened it.
type keepOpen struct{ *archiveFiles }

func (keepOpen) close() error { return nil }

// isPlain tells whether a file that can be read anywhere is not compressed.
func isPlain(f *os.File, head []byte) bool {
	if _, err := f.ReadAt(head, 0); err != nil {
		return false
	}
	at, err := f.Seek(0, io.SeekCurrent)
	return err == nil && at == 0 && head[0] != 0x1f && head[0] != 0x28 && head[0] != 0xfd && string(head[:3]) != "BZh"
}

// spool puts a stream into a file, uncompressed.
func (s *Store) spool(ctx context.Context, in io.Reader, opts PullOptions) (*os.File, error) {
	plain, err := decompress(readerOf(ctx, in), opts.Gzip, opts.Zstd)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	f, err := s.scratch()
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(f, io.LimitReader(plain, maxArchiveBytes+1))
	if err == nil && n > maxArchiveBytes {
		err = unsupportedf("archive of more than %d bytes", int64(maxArchiveBytes))
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// entry is one image of an archive.
type entry struct {
	source Source
	names  []string // canonical
}

// entries lists the images of a layout or of docker's archive. An archive that
// is both is read as a layout, which keeps manifests.
func entries(f files) ([]entry, error) {
	src := &layoutSource{files: f}
	text, err := src.read(v1.ImageIndexFile, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return dockerImages(f)
	}
	if err != nil {
		return nil, err
	}
	if err := src.checkLayout(); err != nil {
		return nil, err
	}
	var index v1.Index
	if err := parseJSON(text, &index); err != nil {
		return nil, unsupportedf("%s: %v", v1.ImageIndexFile, err)
	}
	if err := checkDescriptors(index.Manifests); err != nil {
		return nil, err
	}
	if len(index.Manifests) > maxImages {
		return nil, unsupportedf("archive with %d images, more than %d", len(index.Manifests), maxImages)
	}
	var list []entry
	for _, d := range index.Manifests {
		e := entry{source: &entrySource{layoutSource: layoutSource{files: f}, root: d}}
		if e.names, err = entryNames(d); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// entryNames finds the name that a layout gives an image.
func entryNames(d v1.Descriptor) ([]string, error) {
	name := d.Annotations[containerdName]
	if name == "" {
		name = d.Annotations[v1.AnnotationRefName]
	}
	if name == "" {
		return nil, nil
	}
	ref, err := parseName(name)
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", name, err)
	}
	return []string{ref.String()}, nil
}

// entrySource reads one image of a layout, by its descriptor.
type entrySource struct {
	layoutSource
	root v1.Descriptor
}

func (s *entrySource) Root(ctx context.Context) (string, []byte, error) {
	if t := s.root.MediaType; t != "" && !isDocument(t) {
		return "", nil, unsupportedf("media type %q", t)
	}
	text, err := s.Document(ctx, s.root)
	if err == nil {
		err = verify(text, s.root)
	}
	return s.root.MediaType, text, err
}

// Close leaves the files to be closed after all images.
func (s *entrySource) Close() error { return nil }

// loadEntry gets an image into the store, with a record for its first name, or
// for none.
func (s *Store) loadEntry(ctx context.Context, e entry, opts PullOptions) (*record, error) {
	name := ""
	if len(e.names) > 0 {
		name = e.names[0]
	}
	return s.take(ctx, e.source, name, opts)
}

// take gets an image from a source into the store under a name, or without
// one. With no platform asked for, a single image may be for any.
func (s *Store) take(ctx context.Context, src Source, name string, opts PullOptions) (*record, error) {
	if opts.Platform.Architecture == "" {
		p, err := onlyPlatform(ctx, src)
		if err != nil {
			return nil, err
		}
		opts.Platform = p
	}
	opts.Platform = normalPlatform(opts.Platform)
	lock, err := s.lock(ctx, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := s.Sweep(); err != nil {
		return nil, err
	}
	p := &puller{store: s, src: src, opts: opts, name: func(r *record) string {
		if name == "" {
			return untagged + string(r.Manifest.Digest)
		}
		return name
	}}
	return p.run(ctx, nil)
}

// onlyPlatform is the platform of a single manifest, or the zero value.
func onlyPlatform(ctx context.Context, src Source) (v1.Platform, error) {
	mediaType, text, err := src.Root(ctx)
	if err != nil {
		return v1.Platform{}, err
	}
	doc, err := parseDocument(text, mediaType)
	if err != nil {
		return v1.Platform{}, err
	}
	if doc.Config == nil {
		var has []v1.Platform
		for _, d := range doc.Manifests {
			if d.Platform != nil && d.Platform.OS != "unknown" {
				has = append(has, *d.Platform)
			}
		}
		if len(has) == 1 {
			return has[0], nil
		}
		return v1.Platform{}, nil
	}
	rc, err := src.Blob(ctx, *doc.Config)
	if err != nil {
		return v1.Platform{}, fmt.Errorf("configuration: %w", err)
	}
	defer rc.Close()
	var config v1.Image
	if text, err = io.ReadAll(io.LimitReader(rc, maxConfig)); err == nil {
		err = parseJSON(text, &config)
	}
	if err != nil {
		return v1.Platform{}, unsupportedf("configuration: %v", err)
	}
	return config.Platform, nil
}
