package inflate

import (
	"io"

	"github.com/klauspost/compress/gzip"
)

// Deflate compresses by RFC 1952, without a time or name: the same bytes give
// the same bytes.
func Deflate(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
