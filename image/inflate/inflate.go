// Package inflate decodes the compressions that layers of images have.
//
// It is apart from package image because initialisation of the decoders, of
// their tables above all, costs each program that links them 0.3 ms, and only
// a pull needs them.
package inflate

import (
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory of a zstd decoder: 128 MiB is what
// zstd --ultra --long=27 asks for, the most that decoders must accept.
const maxWindow = 128 << 20

// Gzip decodes RFC 1952, all members of the stream.
func Gzip(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }

// Zstd decodes RFC 8878, all frames of the stream, in the goroutine that reads.
func Zstd(r io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}
