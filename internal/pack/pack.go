// Command pack compresses the program that airplant carries: pack FROM TO.
//
// The format is the size of the program, 8 bytes little endian, and a block of
// LZ4: half the size of the program, where zstd has a good third, but unpacked
// in a fraction of its time, by a package that costs the start of airplant
// nothing: that of S2 fills a table which takes 12 page faults.
package main

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/pierrec/lz4/v4"
)

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
	packed := binary.LittleEndian.AppendUint64(nil, uint64(len(program)))
	block := make([]byte, lz4.CompressBlockBound(len(program)))
	c := lz4.CompressorHC{Level: lz4.Level9}
	n, err := c.CompressBlock(program, block)
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], append(packed, block[:n]...), 0o644)
}
