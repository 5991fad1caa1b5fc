package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"airplant/image/layer"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// layers fetches and unpacks all layers and returns the sizes of their files.
// They unpack side by side; each is completed when the one below it is.
//
//	source ─> digest, size, blob file ─> decompress ─> diff id ─> tar ─> files
//	   goroutine 1                      goroutine 2      3         goroutine 4
//
// so that gzip, the slowest of them by far, has a processor of its own.
func (p *puller) layers(ctx context.Context) ([]int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := len(p.chain)
	sizes := make([]int64, n)
	done := make([]chan struct{}, n)
	slots := make(chan struct{}, parallelLayers)
	var wg sync.WaitGroup
	for i := range n {
		done[i] = make(chan struct{})
		j := &layerJob{puller: p, i: i, slots: slots}
		if i > 0 {
			j.below = done[i-1]
		}
		wg.Go(func() {
			size, err := j.run(ctx)
			if err != nil {
				cancel(fmt.Errorf("layer %d of %d: %w", i+1, n, err))
				return
			}
			sizes[i] = size
			close(done[i])
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return sizes, nil
}

// layerJob makes one layer.
type layerJob struct {
	*puller
	i     int
	slots chan struct{}
	below chan struct{} // closed when the layer below is complete
}

func (j *layerJob) desc() v1.Descriptor { return j.manifest.Layers[j.i] }

func (j *layerJob) report(k EventKind, done int64) {
	d := j.desc()
	j.event(Event{Kind: k, Digest: d.Digest, Layer: j.i, Layers: len(j.chain), Done: done, Total: d.Size})
}

func (j *layerJob) run(ctx context.Context) (int64, error) {
	// The lock of the chain id is taken before that of the blob, and a blob's
	// is given up before waiting for the layer below, whose chain id is
	// another: no two pulls can wait for each other.
	w, err := j.store.workspace(ctx, "layer-"+j.chain[j.i].Encoded())
	if err != nil {
		return 0, err
	}
	defer w.close()
	have, ok := j.store.layer(j.chain[j.i], j.config.RootFS.DiffIDs[j.i])
	if ok && have.Owners == ownersXattr && !j.opts.IgnoreOwner {
		return 0, errOwners
	}
	if ok && exists(j.store.blobPath(j.desc().Digest)) {
		j.report(LayerExists, 0)
		return have.Bytes, j.wait(ctx, j.below)
	}
	select {
	case j.slots <- struct{}{}:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	pending, err := j.unpack(ctx, w)
	<-j.slots
	if err != nil {
		return 0, err
	}
	defer pending.Close()
	if err := j.wait(ctx, j.below); err != nil {
		return 0, err
	}
	size, err := j.publish(w, pending)
	if err == nil {
		j.report(LayerDone, j.desc().Size)
	}
	return size, err
}

func (j *layerJob) wait(ctx context.Context, below chan struct{}) error {
	if below == nil {
		return nil
	}
	select {
	case <-below:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// unpack reads the blob, from the store if it is there and else from the
// source, into the workspace.
func (j *layerJob) unpack(ctx context.Context, w *workspace) (*layer.Pending, error) {
	d := j.desc()
	blob, err := j.store.workspace(ctx, partialPrefix+d.Digest.Encoded())
	if err != nil {
		return nil, err
	}
	defer blob.close()
	if f, err := os.Open(j.store.blobPath(d.Digest)); err == nil {
		blob.keep = false
		pending, err := j.stream(ctx, w, f)
		if !errors.Is(err, ErrDigest) {
			return pending, err
		}
		// The disk lost something; fetch it again.
		if err := w.empty(); err != nil {
			return nil, err
		}
	}
	pending, resumed, err := j.download(ctx, w, blob)
	if resumed && errors.Is(err, ErrDigest) {
		// What an earlier pull left may be to blame: a power cut, say.
		if err := w.empty(); err != nil {
			return nil, err
		}
		pending, _, err = j.download(ctx, w, blob)
	}
	return pending, err
}

// stream unpacks the compressed stream rc, verifying both digests, and closes
// it.
func (j *layerJob) stream(ctx context.Context, w *workspace, rc io.ReadCloser) (*layer.Pending, error) {
	defer rc.Close()
	abort := func() { rc.Close() } // ends a read that blocks
	defer context.AfterFunc(ctx, abort)()
	d := j.desc()
	packed := newVerifier(rc, "layer", d.Digest, d.Size)
	var total int64
	packed.seen = func(n int) {
		total += int64(n)
		j.report(LayerProgress, total)
	}
	ahead := newReadAhead(packed)
	defer ahead.Close()
	pending, err := j.inflate(ctx, w, ahead, abort)
	if err == nil {
		if err = drain(ahead); err == nil {
			return pending, nil
		}
		pending.Close()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if isContent(err) {
		if broken := drain(ahead); broken != nil {
			return nil, broken // what the decoder complains about is only its consequence
		}
	}
	abort()
	return nil, err
}

// isContent tells errors of the data from those of the machine.
func isContent(err error) bool {
	var errno unix.Errno
	return !errors.As(err, &errno)
}

// inflate unpacks a layer from its compressed stream, which may have a rest.
func (j *layerJob) inflate(ctx context.Context, w *workspace, r io.Reader, abort func()) (*layer.Pending, error) {
	plain, err := decompress(r, j.opts.Gzip, j.opts.Zstd)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	inflated := newReadAhead(plain)
	ahead := newReadAhead(newVerifier(inflated, "unpacked layer", j.config.RootFS.DiffIDs[j.i], -1))
	defer ahead.Close()
	defer inflated.Close() // first: what reads it may wait
	diff := w.path("layer/diff")
	if err := os.MkdirAll(diff, 0o700); err != nil {
		return nil, err
	}
	root, err := os.Open(diff)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	pending, err := layer.Unpack(ctx, root, ahead, layer.Options{IgnoreOwner: j.opts.IgnoreOwner})
	if err != nil {
		if !isContent(err) {
			abort() // ahead may be waiting for the source
		}
		return nil, err
	}
	if err := drain(ahead); err != nil {
		pending.Close()
		return nil, err
	}
	return pending, nil
}

// publish completes a layer over those below it and makes it visible.
func (j *layerJob) publish(w *workspace, pending *layer.Pending) (int64, error) {
	lowers, err := j.lowers()
	if err != nil {
		return 0, err
	}
	defer closeFiles(lowers)
	result, err := pending.Finish(lowers)
	if err != nil {
		return 0, err
	}
	if err := j.writeLayerRecord(w, result); err != nil {
		return 0, err
	}
	// One call for all files of the layer; fsync(2) of each takes minutes.
	if err := unix.Syncfs(int(w.lock.Fd())); err != nil {
		return 0, fmt.Errorf("sync layer: %w", err)
	}
	target := j.store.layerPath(j.chain[j.i])
	if exists(target) { // unpacked before, but its blob was missing
		return result.Bytes, nil
	}
	return result.Bytes, os.Rename(w.path("layer"), target)
}

func (j *layerJob) lowers() ([]*os.File, error) {
	var list []*os.File
	for i := j.i - 1; i >= 0; i-- {
		f, err := os.Open(j.store.diffPath(j.chain[i]))
		if err != nil {
			closeFiles(list)
			return nil, err
		}
		list = append(list, f)
	}
	return list, nil
}

func closeFiles(list []*os.File) {
	for _, f := range list {
		f.Close()
	}
}

func (j *layerJob) writeLayerRecord(w *workspace, result layer.Result) error {
	r := layerRecord{Format: storeFormat, DiffID: j.config.RootFS.DiffIDs[j.i], Bytes: result.Bytes, Owners: ownersDisk}
	if j.opts.IgnoreOwner {
		r.Owners = ownersXattr
	}
	if j.i > 0 {
		r.Parent = j.chain[j.i-1]
	}
	var err error
	if len(result.Skipped) > 0 {
		if r.Skipped, err = json.Marshal(result.Skipped); err != nil {
			return err
		}
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return os.WriteFile(w.path("layer/layer.json"), text, 0o600)
}
