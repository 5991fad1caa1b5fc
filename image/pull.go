package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Policy says when to look at the source of an image.
type Policy int

// The policies.
const (
	// PullMissing pulls what the store does not have, and layouts and
	// archives that have changed.
	PullMissing Policy = iota
	// PullAlways asks the source what the name stands for now.
	PullAlways
	// PullNever uses the store alone.
	PullNever
)

// parallelLayers is how many layers are fetched and unpacked at a time.
const parallelLayers = 4

// ConnectFunc makes the source for an image of a registry: reference is a tag
// or a digest, accept the media types of manifests. Package image/registry has
// one; it is not called from here because net/http costs every program that
// links it 0.4 ms of initialisation, and most commands pull nothing.
type ConnectFunc func(host, repository, reference string, accept []string) Source

// Decoder makes a reader of what a compressed stream contains.
type Decoder func(io.Reader) (io.ReadCloser, error)

// PullOptions says how to pull.
type PullOptions struct {
	Platform v1.Platform // the zero value is the host's
	Policy   Policy
	Connect  ConnectFunc // nil: no registries
	// Gzip and Zstd are left to the caller for the same reason; nil: layers
	// compressed so are not supported.
	Gzip, Zstd Decoder
	// Progress is told what happens; calls do not overlap. It may be nil.
	Progress func(Event)
	// IgnoreOwner is for a user namespace with a single id, see
	// [layer.Options].
	IgnoreOwner bool
}

// EventKind is a kind of Event.
type EventKind int

// The kinds.
const (
	Resolved      EventKind = iota // Digest is the manifest's, Layers their number
	LayerExists                    // a layer need not be fetched
	LayerProgress                  // Done of Total compressed bytes are read
	LayerDone                      // a layer is complete
)

// Event is progress of a pull.
type Event struct {
	Kind        EventKind
	Digest      digest.Digest // of the manifest or of the layer's blob
	Layer       int           // index, 0 is the bottom one
	Layers      int
	Done, Total int64
}

// Pull gets an image into the store and returns it. What exists is not
// fetched again; what fails leaves nothing visible behind.
func (s *Store) Pull(ctx context.Context, ref Reference, opts PullOptions) (*Image, error) {
	r, err := s.pull(ctx, ref, opts)
	if err != nil {
		return nil, explain("pull", ref, err)
	}
	return s.image(r), nil
}

func (s *Store) pull(ctx context.Context, ref Reference, opts PullOptions) (*record, error) {
	ref, err := ref.Absolute()
	if err != nil {
		return nil, err
	}
	opts.Platform = normalPlatform(opts.Platform)
	have, err := s.resolve(ref, opts.Platform)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return nil, err
	case opts.Policy == PullNever:
		return have, err
	case err == nil && opts.Policy == PullMissing && (ref.Transport == Registry || unchanged(ref, have)):
		return have, nil
	}
	lock, err := s.lock(ctx, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := s.Sweep(); err != nil {
		return nil, err
	}
	state := sourceState(ref)
	src, err := open(ref, opts.Connect)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	p := &puller{store: s, ref: ref, src: src, opts: opts, state: state}
	return p.run(ctx, have)
}

// unchanged tells whether an archive is the file that was read before.
func unchanged(ref Reference, r *record) bool {
	return ref.Transport == Archive && r.Source != "" && r.Source == sourceState(ref)
}

func sourceState(ref Reference) string {
	if ref.Transport != Archive {
		return ""
	}
	var st unix.Stat_t
	if unix.Stat(ref.Path, &st) != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d:%d:%d.%09d:%d.%09d", st.Dev, st.Ino, st.Size,
		st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
}

// puller is one pull.
type puller struct {
	store *Store
	ref   Reference
	src   Source
	opts  PullOptions
	state string
	name  func(*record) string // in place of that of ref; may be nil

	documents []v1.Descriptor // manifest and index, already in the store
	followed  int             // manifests and indexes that indexes led to
	manifest  *document
	config    *v1.Image
	chain     []digest.Digest
	progress  sync.Mutex
}

func (p *puller) event(e Event) {
	if p.opts.Progress == nil {
		return
	}
	p.progress.Lock()
	defer p.progress.Unlock()
	p.opts.Progress(e)
}

func (p *puller) run(ctx context.Context, have *record) (*record, error) {
	r := &record{Format: storeFormat, Name: p.ref.String(), Platform: p.opts.Platform, Source: p.state}
	if err := p.describe(ctx, r); err != nil {
		return nil, err
	}
	if have != nil && have.Manifest.Digest == r.Manifest.Digest && have.Target == r.Target && have.Source == r.Source {
		return have, nil
	}
	text, err := p.small(ctx, *p.manifest.Config)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if p.config, err = parseConfig(text, len(p.manifest.Layers), p.opts.Platform); err != nil {
		return nil, err
	}
	p.chain = chainIDs(p.config.RootFS.DiffIDs)
	p.event(Event{Kind: Resolved, Digest: r.Manifest.Digest, Layers: len(p.chain)})
	sizes, err := p.layers(ctx)
	if err != nil {
		return nil, err
	}
	r.Config, r.Layers, r.Pulled = p.manifest.Config.Digest, p.chain, time.Now().UTC()
	for _, n := range sizes {
		r.Size += n
	}
	for _, d := range append(append(p.documents, *p.manifest.Config), p.manifest.Layers...) {
		r.Blobs = append(r.Blobs, d.Digest)
	}
	r.Image = *p.config
	r.Image.History, r.Image.RootFS = nil, v1.RootFS{}
	if p.name != nil {
		r.Name = p.name(r)
	}
	return r, p.store.writeRecord(ctx, r)
}

// describe finds the manifest, by way of an index if there is one.
func (p *puller) describe(ctx context.Context, r *record) error {
	mediaType, text, err := p.src.Root(ctx)
	if err != nil {
		return err
	}
	r.Target = digest.FromBytes(text)
	if want := p.ref.Digest; want != "" && want != r.Target {
		return fmt.Errorf("%w: manifest: want %s, got %s", ErrDigest, want, r.Target)
	}
	doc, err := parseDocument(text, mediaType)
	if err != nil {
		return err
	}
	if err := p.keep(ctx, r, doc, text); err != nil || doc.Manifests == nil {
		p.manifest = doc
		return err
	}
	return p.descend(ctx, r, doc, 1)
}

// descend follows an index to the manifest for the platform, through further
// indexes if need be.
func (p *puller) descend(ctx context.Context, r *record, index *document, depth int) error {
	if depth > maxNesting {
		return unsupportedf("indexes within indexes, more than %d deep", maxNesting)
	}
	list, err := choose(index.Manifests, p.opts.Platform)
	if err != nil {
		return err
	}
	for n, d := range list {
		err = p.follow(ctx, r, d, depth)
		if !errors.Is(err, ErrNoPlatform) || n == len(list)-1 {
			break
		}
	}
	return err
}

// follow reads the manifest or index that an index names.
func (p *puller) follow(ctx context.Context, r *record, d v1.Descriptor, depth int) error {
	if d.Size > maxManifest {
		return unsupportedf("manifest of %d bytes", d.Size)
	}
	if p.followed++; p.followed > maxFollowed {
		return unsupportedf("more than %d manifests and indexes within indexes", maxFollowed)
	}
	text, err := p.src.Document(ctx, d)
	if err != nil {
		return err
	}
	if err := verify(text, d); err != nil {
		return err
	}
	doc, err := parseDocument(text, d.MediaType)
	if err != nil {
		return err
	}
	if err := p.keep(ctx, r, doc, text); err != nil || doc.Manifests == nil {
		p.manifest = doc
		return err
	}
	return p.descend(ctx, r, doc, depth+1)
}

// keep stores a manifest or index.
func (p *puller) keep(ctx context.Context, r *record, doc *document, text []byte) error {
	r.Manifest = v1.Descriptor{MediaType: doc.MediaType, Digest: digest.FromBytes(text), Size: int64(len(text))}
	p.documents = append(p.documents, r.Manifest)
	return p.store.putBlob(ctx, r.Manifest.Digest, text)
}

// small fetches a blob that is kept in memory.
func (p *puller) small(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	if text, err := os.ReadFile(p.store.blobPath(d.Digest)); err == nil && verify(text, d) == nil {
		return text, nil
	}
	lock, err := p.store.workspace(ctx, partialPrefix+d.Digest.Encoded())
	if err != nil {
		return nil, err
	}
	defer lock.close()
	if text, err := os.ReadFile(p.store.blobPath(d.Digest)); err == nil && verify(text, d) == nil {
		return text, nil // another pull was faster
	}
	rc, err := p.src.Blob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	text, err := io.ReadAll(io.LimitReader(rc, maxConfig+1))
	if err != nil {
		return nil, err
	}
	if err := verify(text, d); err != nil {
		return nil, err
	}
	return text, p.store.putBlob(ctx, d.Digest, text)
}

// putBlob stores a small blob.
func (s *Store) putBlob(ctx context.Context, d digest.Digest, text []byte) error {
	if exists(s.blobPath(d)) {
		return ctx.Err()
	}
	return s.replace(blobsDir+"/"+d.Encoded(), text)
}

// layerRecord is layer.json beside an unpacked layer.
type layerRecord struct {
	Format int           `json:"format"`
	DiffID digest.Digest `json:"diffID"`
	Parent digest.Digest `json:"parent,omitempty"` // chain id of the layers below
	Bytes  int64         `json:"bytes"`
	Owners string        `json:"owners"` // where the owners of files are
	// Skipped lists device nodes and other things the directory lacks.
	Skipped json.RawMessage `json:"skipped,omitempty"`
}

const (
	ownersDisk  = "disk"
	ownersXattr = "xattr" // with PullOptions.IgnoreOwner
)

var errOwners = errors.New("the store holds it without owners; remove the image first")
