package image

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"
)

const (
	chunkSize = 256 << 10
	chunks    = 8
)

// verifier passes a stream on and checks that it is what a digest says. The
// end of the stream is reported only when all is well.
type verifier struct {
	r    io.Reader
	want digest.Digest
	size int64 // -1: unknown
	what string
	seen func(n int)

	hash hash.Hash
	n    int64
	err  error
}

func newVerifier(r io.Reader, what string, want digest.Digest, size int64) *verifier {
	return &verifier{r: r, what: what, want: want, size: size, hash: sha256.New()}
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	v.n += int64(n)
	v.hash.Write(p[:n])
	if v.size >= 0 && v.n > v.size {
		v.err = fmt.Errorf("%w: %s %s: %w (%d)", ErrDigest, v.what, v.want, errTooLarge, v.size)
		return 0, v.err
	}
	if v.seen != nil && n > 0 {
		v.seen(n)
	}
	if errors.Is(err, io.EOF) {
		err = v.finish()
	}
	v.err = err
	return n, err
}

// finish is io.EOF if the whole stream was right.
func (v *verifier) finish() error {
	if v.size >= 0 && v.n < v.size {
		return fmt.Errorf("%w: %s %s: it ends after %d of %d bytes", ErrDigest, v.what, v.want, v.n, v.size)
	}
	if got := digest.NewDigest(digest.SHA256, v.hash); got != v.want {
		return fmt.Errorf("%w: %s: want %s, got %s", ErrDigest, v.what, v.want, got)
	}
	return io.EOF
}

// drain reads a stream to its end.
func drain(r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, chunkSize))
	return err
}

// readAhead reads from r in a goroutine of its own, so that reading and what
// is done with the data run at the same time. Close waits for the goroutine,
// which must be able to finish its current read of r.
type readAhead struct {
	full chan []byte
	free chan []byte
	stop chan struct{}
	once sync.Once
	cur  []byte
	buf  []byte
	err  error // of r; to be read after full is closed
}

func newReadAhead(r io.Reader) *readAhead {
	a := &readAhead{
		full: make(chan []byte, chunks),
		free: make(chan []byte, chunks),
		stop: make(chan struct{}),
	}
	for range chunks {
		a.free <- nil
	}
	go a.run(r)
	return a
}

func (a *readAhead) run(r io.Reader) {
	defer close(a.full)
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.stop:
			a.err = io.ErrClosedPipe
			return
		}
		if buf == nil {
			buf = make([]byte, chunkSize)
		}
		n, err := io.ReadAtLeast(r, buf, chunkSize/2)
		if n > 0 {
			a.full <- buf[:n] // has room for all buffers
		}
		if err == io.ErrUnexpectedEOF && n > 0 {
			err = nil // r says itself why, the next time
		}
		if err != nil {
			a.err = err
			return
		}
	}
}

func (a *readAhead) Read(p []byte) (int, error) {
	for len(a.cur) == 0 {
		if a.buf != nil {
			a.free <- a.buf[:chunkSize]
			a.buf = nil
		}
		b, ok := <-a.full
		if !ok {
			return 0, a.err
		}
		a.buf, a.cur = b, b
	}
	n := copy(p, a.cur)
	a.cur = a.cur[n:]
	return n, nil
}

// Close ends the goroutine and waits for it.
func (a *readAhead) Close() {
	a.once.Do(func() { close(a.stop) })
	for range a.full {
	}
}

// decompress recognises the compression by the first bytes, as all engines
// do: media types often lie. Close the result.
func decompress(r io.Reader, gzip, zstd Decoder) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case has("\x1f\x8b"):
		return decode(gzip, "gzip", br)
	case has("\x28\xb5\x2f\xfd"), len(head) > 3 && head[0]&0xf0 == 0x50 && has(string(head[:1])+"\x2a\x4d\x18"):
		return decode(zstd, "zstd", br)
	case has("\xfd7zXZ\x00"):
		return nil, unsupportedf("layer compressed with xz")
	case has("BZh"):
		return nil, unsupportedf("layer compressed with bzip2")
	}
	return io.NopCloser(br), nil
}

func decode(d Decoder, name string, r io.Reader) (io.ReadCloser, error) {
	if d == nil {
		return nil, unsupportedf("layer compressed with %s", name)
	}
	return d(r)
}
