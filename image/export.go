package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"airplant/image/layer"
)

// Export writes what a stack of directories shows as a tar, the top one first:
// layers of the store, and others above or in place of them.
func (s *Store) Export(ctx context.Context, dirs []string, opts layer.WriteOptions, out io.Writer) error {
	var stack []layer.Stored
	defer func() {
		for _, l := range stack {
			l.Dir.Close()
		}
	}()
	for _, dir := range dirs {
		l, err := s.stored(dir)
		if err != nil {
			return &Error{Op: "export", Err: err}
		}
		stack = append(stack, l)
	}
	if err := layer.WriteTree(ctx, out, stack, opts); err != nil {
		return &Error{Op: "export", Err: err}
	}
	return nil
}

// stored opens a directory and, if it is a layer of the store, reads what it
// cannot express.
func (s *Store) stored(dir string) (layer.Stored, error) {
	f, err := os.Open(dir)
	if err != nil {
		return layer.Stored{}, err
	}
	l := layer.Stored{Dir: f}
	if s.chainOf(dir) == "" {
		return l, nil
	}
	var r layerRecord
	text, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "layer.json"))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err == nil && len(r.Skipped) > 0 {
		err = json.Unmarshal(r.Skipped, &l.Skipped)
	}
	if err != nil {
		f.Close()
		return layer.Stored{}, fmt.Errorf("layer of %s: %w", dir, err)
	}
	return l, nil
}

// Diff tells what the first of a stack of directories changes.
func Diff(ctx context.Context, dirs []string, opts layer.WriteOptions, each func(layer.ChangeKind, string) error) error {
	var files []*os.File
	defer func() { closeFiles(files) }()
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			return &Error{Op: "compare", Err: err}
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil
	}
	return layer.Diff(ctx, files[0], files[1:], opts, each)
}
