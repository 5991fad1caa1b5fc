// Command pack compresses the program that airplant carries: pack FROM TO.
//
// The format is blocks of LZ4, each after its length in 4 bytes, little endian.
// LZ4 takes half the size of the program, where zstd takes a third, but is
// unpacked in a fraction of the time by a package that costs the start of airplant
// nothing: that of S2 fills a table, in 12 page faults. A block is of 256 KiB
// of the program, because to write a buffer into a file in memory costs less
// than to touch each of the file's pages.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"

	"github.com/pierrec/lz4/v4"
)

// block is how many bytes of the program are packed at once.
const block = 256 << 10

func main() {
	if err := pack(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack: error:", err)
		os.Exit(1)
	}
}

func pack(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want FROM and TO, have %d arguments", len(args))
	}
	program, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var packed []byte
	c := lz4.CompressorHC{Level: lz4.Level9}
	to := make([]byte, lz4.CompressBlockBound(block))
	for from := range slices.Chunk(program, block) {
		n, err := c.CompressBlock(from, to)
		if err != nil {
			return err
		}
		packed = binary.LittleEndian.AppendUint32(packed, uint32(n))
		packed = append(packed, to[:n]...)
	}
	return os.WriteFile(args[1], packed, 0o644)
}
