package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Target is a repository that an image is pushed to.
type Target interface {
	// Has tells whether it has a blob.
	Has(ctx context.Context, d v1.Descriptor) (bool, error)
	// Blob writes a blob; from is another repository that had it.
	Blob(ctx context.Context, d v1.Descriptor, open func(offset int64) (io.ReadCloser, error)) (from string, err error)
	// Document writes a manifest or index under a tag or digest.
	Document(ctx context.Context, reference string, d v1.Descriptor, text []byte) error
}

// Pushed is what became of a blob.
type Pushed struct {
	Digest      digest.Digest
	Index       int
	Count       int
	Done, Total int64
	Exists      bool   // it was there
	From        string // the repository that it was taken from
	Ready       bool
}

// parallelBlobs is how many blobs are sent at a time.
const parallelBlobs = 4

// Push writes an image to a repository: first what it consists of, then the
// manifests, as they are, so that digests stay. tag may be "".
func (s *Store) Push(ctx context.Context, c *Content, to Target, tag string, progress func(Pushed)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	tell := func(p Pushed) {
		mu.Lock()
		defer mu.Unlock()
		progress(p)
	}
	slots := make(chan struct{}, parallelBlobs)
	var wg sync.WaitGroup
	for n, d := range c.Blobs {
		wg.Go(func() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-slots }()
			p := Pushed{Digest: d.Digest, Index: n, Count: len(c.Blobs), Total: d.Size}
			if err := s.pushBlob(ctx, d, to, p, tell); err != nil {
				cancel(fmt.Errorf("blob %d of %d: %w", n+1, len(c.Blobs), err))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for _, d := range c.Documents {
		text, err := s.readBlob(d.Digest)
		if err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
		reference := string(d.Digest)
		if d.Digest == c.Root.Digest && tag != "" {
			reference = tag
		}
		if err := to.Document(ctx, reference, d, text); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) pushBlob(ctx context.Context, d v1.Descriptor, to Target, p Pushed, tell func(Pushed)) error {
	has, err := to.Has(ctx, d)
	if err != nil {
		return err
	}
	p.Exists, p.Ready = has, true
	if !has {
		p.From, err = to.Blob(ctx, d, func(offset int64) (io.ReadCloser, error) {
			f, err := os.Open(s.blobPath(d.Digest))
			if err != nil {
				return nil, err
			}
			if _, err := f.Seek(offset, io.SeekStart); err != nil {
				f.Close()
				return nil, err
			}
			return &watched{File: f, at: offset, tell: func(at int64) {
				tell(Pushed{Digest: d.Digest, Index: p.Index, Count: p.Count, Done: at, Total: d.Size})
			}}, nil
		})
		if err != nil {
			return err
		}
	}
	p.Done = d.Size
	tell(p)
	return nil
}

// watched tells how far a file was read.
type watched struct {
	*os.File
	at   int64
	tell func(int64)
}

// Read reads.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.File.Read(p)
	w.at += int64(n)
	w.tell(w.at)
	return n, err
}

// WriteTo hides that of the file, which would read past us.
func (w *watched) WriteTo(out io.Writer) (int64, error) {
	return io.Copy(out, struct{ io.Reader }{w})
}

// Elsewhere lists other repositories of a registry from which blobs of an image
// came, so that they need not be sent again.
func (s *Store) Elsewhere(c *Content, host, repository string) []string {
	records, err := s.records()
	if err != nil {
		return nil
	}
	var list []string
	for _, r := range records {
		ref, err := ParseReference(r.Name)
		if err != nil || ref.Transport != Registry || ref.Host != host || ref.Repository == repository || slices.Contains(list, ref.Repository) {
			continue
		}
		shares := slices.ContainsFunc(c.Blobs, func(d v1.Descriptor) bool { return slices.Contains(r.Blobs, d.Digest) })
		if shares {
			list = append(list, ref.Repository)
		}
	}
	slices.Sort(list)
	const most = 3 // each costs a request for every blob
	return list[:min(len(list), most)]
}

// ExplainPush makes an error of a push one that says what to do.
func ExplainPush(ref Reference, err error) error {
	var status answered
	if errors.As(err, &status) && status.HTTPStatus() == 404 {
		return &Error{Op: "push", Ref: ref.String(), Err: err, Hint: "check that the registry has, or makes, this repository"}
	}
	return explain("push", ref, err)
}
