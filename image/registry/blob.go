package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// idle is how long a connection may deliver nothing.
	idle = 60 * time.Second
	// progressBytes is what a connection must have delivered for its end not
	// to count as one more failure in a row.
	progressBytes = 64 << 10
)

// Blob opens a blob for reading at an offset. When the connection breaks or
// stalls, reading goes on over a new one from where it stopped, by a range
// request, or by skipping where the server knows no ranges. The caller verifies
// and closes it; Close ends a Read that blocks.
func (r *Repository) Blob(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &blob{
		repo: r, ctx: ctx, cancel: cancel, size: d.Size, at: offset, from: offset,
		url: r.base + "blobs/" + d.Digest.String(),
	}
	if err := b.open(); err != nil { // what is missing is told at once
		b.Close()
		return nil, err
	}
	return b, nil
}

// blob reads a blob over as many connections as it takes.
type blob struct {
	repo     *Repository
	ctx      context.Context
	cancel   context.CancelFunc
	url      string
	size     int64
	at       int64 // of the next byte
	from     int64 // where this connection began
	skip     int64 // bytes that it repeats
	failures int   // in a row

	mu   sync.Mutex
	body io.ReadCloser
}

// BrokenError means that a connection broke again and again.
type BrokenError struct {
	Host     string
	At, Size int64
	Err      error
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("connection to %s broke %d times in a row, at byte %d of %d: %v", e.Host, tries, e.At, e.Size, e.Err)
}

func (e *BrokenError) Unwrap() error { return e.Err }

// URL is where the registry is.
func (e *BrokenError) URL() string { return BaseURL(e.Host) }

func (b *blob) Read(p []byte) (int, error) {
	for {
		n, err := b.read(p)
		if err == nil || errors.Is(err, io.EOF) {
			return n, err
		}
		if b.ctx.Err() != nil {
			return n, context.Cause(b.ctx)
		}
		if err := b.recover(err); err != nil || n > 0 {
			return n, err
		}
	}
}

// read reads from the open connection; io.EOF is the end of the blob.
func (b *blob) read(p []byte) (int, error) {
	if b.body == nil {
		if b.at == b.size {
			return 0, io.EOF
		}
		if err := b.open(); err != nil {
			return 0, err
		}
	}
	body := b.body
	stalled := time.AfterFunc(idle, func() { body.Close() })
	n, err := body.Read(p)
	if !stalled.Stop() && err != nil {
		err = fmt.Errorf("no data for %v: %w", idle, err)
	}
	if b.skip > 0 {
		k := int(min(int64(n), b.skip))
		n, b.skip = copy(p, p[k:n]), b.skip-int64(k)
	}
	b.at += int64(n)
	if errors.Is(err, io.EOF) && b.at < b.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// recover prepares for the next connection, or gives up. What the registry
// answers to a new request, it has already been asked for several times.
func (b *blob) recover(err error) error {
	if _, ok := errors.AsType[*StatusError](err); ok {
		return err
	}
	b.closeBody()
	wait := time.Duration(0)
	if b.at-b.from >= progressBytes {
		b.failures = 0
	} else if b.failures++; b.failures < tries {
		wait = backoff(b.failures)
	} else {
		return &BrokenError{Host: b.repo.host, At: b.at, Size: b.size, Err: err}
	}
	b.from = b.at
	return b.repo.client.pause(b.ctx, wait)
}

// open asks for the rest of the blob.
func (b *blob) open() error {
	resp, err := b.repo.get(b.ctx, b.url, "*/*", b.at)
	if err != nil {
		return err
	}
	b.skip = b.at
	if resp.StatusCode == http.StatusPartialContent {
		if got := resp.Header.Get("Content-Range"); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", b.at)) {
			resp.Body.Close()
			return fmt.Errorf("%s: asked for bytes from %d on, got %q", b.repo.host, b.at, printable(got))
		}
		b.skip = 0
	}
	b.mu.Lock()
	b.body = resp.Body
	b.mu.Unlock()
	return nil
}

func (b *blob) closeBody() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.body != nil {
		b.body.Close()
		b.body = nil
	}
}

// Close may be called while Read runs, and again.
func (b *blob) Close() error {
	b.cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.body != nil {
		return b.body.Close()
	}
	return nil
}
