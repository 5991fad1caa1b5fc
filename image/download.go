package image

import (
	"context"
	"errors"
	"io"
	"os"

	"airplant/image/layer"
)

// download reads the blob from the source, after what an earlier pull got of
// it, unpacks it, and moves it into the store. resumed tells whether there was
// something to go on from.
func (j *layerJob) download(ctx context.Context, w, blob *workspace) (pending *layer.Pending, resumed bool, err error) {
	d := j.desc()
	file, err := os.OpenFile(blob.path(partialName), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, false, err
	}
	defer file.Close()
	have, err := j.resumable(file)
	if err != nil {
		return nil, false, err
	}
	rc := io.NopCloser(io.Reader(eof{}))
	if have < d.Size || d.Size == 0 {
		if rc, err = blobFrom(ctx, j.src, d, have); err != nil {
			return nil, false, err // what is here stays
		}
	}
	joined := &joined{
		Reader: io.MultiReader(io.NewSectionReader(file, 0, have), io.TeeReader(rc, file)),
		Closer: rc,
	}
	pending, err = j.stream(ctx, w, joined)
	if err != nil {
		blob.keep = interrupted(ctx, err)
		if !blob.keep {
			err = errors.Join(err, os.Remove(file.Name()))
		}
		return nil, have > 0, err
	}
	if err := j.keepBlob(file, blob); err != nil {
		pending.Close()
		return nil, have > 0, err
	}
	return pending, have > 0, nil
}

// resumable is how much of the blob the file holds.
func (j *layerJob) resumable(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() > j.desc().Size {
		return 0, file.Truncate(0)
	}
	return info.Size(), nil
}

// interrupted tells whether a download can go on later: if a person or the
// network ended it, and not what is in the image.
func interrupted(ctx context.Context, err error) bool {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var reached unreached
	var status answered
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &reached):
		return true
	case errors.As(err, &status):
		return status.HTTPStatus() == 429 || status.HTTPStatus() >= 500
	}
	return false
}

func (j *layerJob) keepBlob(out *os.File, blob *workspace) error {
	if err := out.Sync(); err != nil {
		return err
	}
	// The directory is not synced here nor for layers: should the new name
	// be lost with the power, the blob is fetched again.
	return os.Rename(blob.path(partialName), j.store.blobPath(j.desc().Digest))
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// joined reads a file and then a source, and closes the source.
type joined struct {
	io.Reader
	io.Closer
}
