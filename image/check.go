package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"airplant/image/layer"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Problem is something of an image that is not as it was pulled.
type Problem struct {
	Image    string        `json:"image"`
	Kind     string        `json:"kind"` // "blob" or "layer"
	Digest   digest.Digest `json:"digest"`
	Problem  string        `json:"problem"`
	Repaired bool          `json:"repaired,omitempty"`
}

// CheckOptions says how to check, and with what to repair.
type CheckOptions struct {
	Repair bool
	// Busy are the layer directories of containers that run: these are not
	// replaced.
	Busy []string
	Pull PullOptions
}

// Check compares all blobs with their digests and all unpacked layers with
// what their blobs unpack to. With Repair it unpacks and fetches again what is
// broken.
func (s *Store) Check(ctx context.Context, opts CheckOptions) ([]Problem, error) {
	lock, err := s.lock(ctx, unix.LOCK_SH)
	if err != nil {
		return nil, &Error{Op: "check image store", Err: err}
	}
	defer lock.Close()
	records, err := s.records()
	if err != nil {
		return nil, &Error{Op: "check image store", Err: err}
	}
	c := &checker{store: s, opts: opts, seen: map[digest.Digest]string{}}
	problems := []Problem{}
	for _, r := range records {
		found, err := c.record(ctx, r)
		if err == nil && opts.Repair && len(found) > 0 {
			err = c.repair(ctx, r, found)
		}
		problems = append(problems, found...)
		if err != nil {
			return problems, &Error{Op: "check image", Ref: r.Name, Err: err}
		}
	}
	return problems, nil
}

// checker remembers what it has looked at.
type checker struct {
	store *Store
	opts  CheckOptions
	seen  map[digest.Digest]string // what is wrong with a blob or a chain id
}

func (c *checker) record(ctx context.Context, r *record) ([]Problem, error) {
	var found []Problem
	add := func(kind string, d digest.Digest, what string) {
		if what != "" {
			found = append(found, Problem{Image: r.Name, Kind: kind, Digest: d, Problem: what})
		}
	}
	whole := true
	for _, d := range r.Blobs {
		if err := ctx.Err(); err != nil {
			return found, err
		}
		what := c.once(d, func() string { return c.store.checkBlob(d) })
		add("blob", d, what)
		whole = whole && what == ""
	}
	if !whole { // there is nothing to compare layers with
		return found, nil
	}
	p, err := c.puller(r)
	if err != nil {
		return found, err
	}
	for i, chain := range r.Layers {
		what := c.once("layer-"+chain, func() string {
			what, checkErr := p.checkLayer(ctx, i)
			err = checkErr
			return what
		})
		if err != nil {
			return found, err
		}
		add("layer", chain, what)
	}
	return found, nil
}

func (c *checker) once(d digest.Digest, look func() string) string {
	what, ok := c.seen[d]
	if !ok {
		what = look()
		c.seen[d] = what
	}
	return what
}

// checkBlob tells what is wrong with a blob, "" if nothing is.
func (s *Store) checkBlob(d digest.Digest) string {
	f, err := os.Open(s.blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return "it is missing"
	}
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if err := drain(newVerifier(f, "blob", d, -1)); err != nil {
		return err.Error()
	}
	return ""
}

// puller is a pull of what a record stands for, by what the store has.
func (c *checker) puller(r *record) (*puller, error) {
	p := &puller{store: c.store, opts: c.opts.Pull, state: r.Source}
	p.opts.Platform = r.Platform
	text, err := c.store.readBlob(r.Manifest.Digest)
	if err != nil {
		return nil, err
	}
	if p.manifest, err = parseDocument(text, r.Manifest.MediaType); err != nil {
		return nil, err
	}
	if text, err = c.store.readBlob(r.Config); err != nil {
		return nil, err
	}
	p.config, err = parseConfig(text, len(p.manifest.Layers), r.Platform)
	p.chain = r.Layers
	return p, err
}

// checkLayer unpacks a layer again, beside the one of the store, and tells of
// differences.
func (p *puller) checkLayer(ctx context.Context, i int) (what string, err error) {
	j := &layerJob{puller: p, i: i}
	have, ok := p.store.layer(p.chain[i], p.config.RootFS.DiffIDs[i])
	if !ok {
		return "it is missing", nil
	}
	p.opts.IgnoreOwner = have.Owners == ownersXattr
	w, err := p.store.workspace(ctx, "check-"+p.chain[i].Encoded())
	if err != nil {
		return "", err
	}
	defer w.close()
	blob, err := os.Open(p.store.blobPath(j.desc().Digest))
	if err != nil {
		return "", err
	}
	pending, err := j.stream(ctx, w, blob)
	if err != nil {
		return "", err
	}
	defer pending.Close()
	lowers, err := j.lowers()
	if err != nil {
		return "a layer below it is missing", nil //nolint:nilerr // which is told of its own
	}
	defer closeFiles(lowers)
	if _, err := pending.Finish(lowers); err != nil {
		return "", err
	}
	return compareTrees(w.path("layer/diff"), p.store.diffPath(p.chain[i]))
}

func compareTrees(want, got string) (string, error) {
	a, err := os.Open(want)
	if err != nil {
		return "", err
	}
	defer a.Close()
	b, err := os.Open(got)
	if err != nil {
		return err.Error(), nil
	}
	defer b.Close()
	list, err := layer.Compare(a, b)
	return strings.Join(list, "; "), err
}

// repair removes what is broken and pulls the image again: by its digest, and
// only what is missing.
func (c *checker) repair(ctx context.Context, r *record, found []Problem) error {
	for _, f := range found {
		if f.Kind == "layer" && slices.Contains(c.opts.Busy, c.store.diffPath(f.Digest)) {
			return fmt.Errorf("layer %s is in use by a running container", f.Digest)
		}
	}
	ref, err := recordReference(r)
	if err != nil {
		return err
	}
	for _, f := range found {
		err := error(nil)
		if f.Kind == "layer" && exists(c.store.layerPath(f.Digest)) {
			err = c.store.discard(c.store.layerPath(f.Digest))
		} else if f.Kind == "blob" {
			err = os.Remove(c.store.blobPath(f.Digest))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	pinned := ref
	if ref.Transport == Registry {
		pinned.Digest = r.Target
	}
	origin, err := open(pinned, c.opts.Pull.Connect)
	if err != nil {
		origin = nowhere{fmt.Errorf("no other place to get it from: %w", err)}
	}
	defer origin.Close()
	p := &puller{store: c.store, ref: ref, src: &localFirst{c.store, r, origin}, opts: c.opts.Pull, state: r.Source}
	p.opts.Platform = r.Platform
	again, err := p.run(ctx, nil)
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	if again.Manifest.Digest != r.Manifest.Digest {
		return fmt.Errorf("repair: %w: its place holds another image by now", ErrDigest)
	}
	for i := range found {
		found[i].Repaired = true
		delete(c.seen, found[i].Digest)
		delete(c.seen, "layer-"+found[i].Digest)
	}
	return nil
}

// recordReference is the reference that a record was pulled by; one without a
// name has none.
func recordReference(r *record) (Reference, error) {
	ref, err := ParseReference(r.Name)
	if err != nil {
		return ref, fmt.Errorf("repair: it has no name to pull it by: %w", err)
	}
	return ref, nil
}

// localFirst is a source that reads documents of the store where it can.
type localFirst struct {
	store *Store
	of    *record
	Source
}

func (l *localFirst) Root(ctx context.Context) (string, []byte, error) {
	if text, err := l.store.readBlob(l.of.Target); err == nil {
		return "", text, nil
	}
	return l.Source.Root(ctx)
}

func (l *localFirst) Document(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if text, err := l.store.readBlob(d.Digest); err == nil {
		return text, nil
	}
	return l.Source.Document(ctx, d)
}

func (l *localFirst) BlobFrom(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	return blobFrom(ctx, l.Source, d, offset)
}

// nowhere is the source of an image that came from here, or from a file that
// has gone.
type nowhere struct{ err error }

func (n nowhere) Root(context.Context) (string, []byte, error)               { return "", nil, n.err }
func (n nowhere) Document(context.Context, v1.Descriptor) ([]byte, error)    { return nil, n.err }
func (n nowhere) Blob(context.Context, v1.Descriptor) (io.ReadCloser, error) { return nil, n.err }
func (n nowhere) Close() error                                               { return nil }
