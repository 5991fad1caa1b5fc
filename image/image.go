// Package image gets OCI images from registries and archives, keeps them
// unpacked, and turns their configuration into a runtime spec.
//
// The [Store] is a directory:
//
//	image-store.json          format version
//	oci-layout, index.json    an OCI image layout (image-layout.md) of what
//	blobs/sha256/HEX          was pulled: other tools can read it
//	names/NAME,PLATFORM.json  one small record a name: all that Resolve reads
//	layers/sha256/CHAIN/diff  a layer, unpacked over those below it
//	layers/sha256/CHAIN/layer.json
//	tmp/NAME/                 work in progress, flock(2)ed by its owner
//	lock                      shared by those who use layers, exclusive for
//	                          those who remove some
//
// Nothing becomes visible before it is complete: blobs and layers are made in
// tmp, verified against digest, size and diff id, synced, and renamed. Work in
// tmp whose lock is free has lost its owner; the next pull removes it. There
// is a lock an object and none that resolving or running an image waits for.
//
// The unpacked files have the owners that the image says, so that everything
// which writes or removes layers runs as uid 0 of a user namespace that maps
// the user's ids (or with [PullOptions.IgnoreOwner]). Resolving needs no
// privilege.
//
// What was downloaded of a blob stays in tmp/blob-HEX/data, and the next pull goes
// on from there.
//
// Not done here: signatures are not checked.
package image

import (
	"io/fs"
	"os"
	"time"

	"airplant/image/layer"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image of the store, ready to be run.
type Image struct {
	// Name is the canonical form of the reference it was pulled by.
	Name string
	// ManifestDigest identifies the image for its platform.
	ManifestDigest digest.Digest
	// Target is the digest of what the name stands for: the manifest, or
	// the index that it was chosen from.
	Target digest.Digest
	// ConfigDigest is what docker and podman call the image's id.
	ConfigDigest digest.Digest
	// Platform is the platform that it was asked for.
	Platform v1.Platform
	// Config is the image's configuration without its history and diff ids.
	Config v1.Image
	// Layers are the unpacked directories, the top one first, as overlayfs
	// lists lower directories (mount with userxattr).
	Layers []string
	// Size is the number of bytes in the files of all layers.
	Size int64
	// Pulled is when the name was last set to this image.
	Pulled time.Time
}

// Open opens the regular file at path as a container of the image would see
// it, symbolic links being followed within the image. It needs no mount.
// Anything but a regular file is refused. The caller closes it.
func (i *Image) Open(path string) (*os.File, error) {
	if len(i.Layers) == 0 {
		return nil, &os.PathError{Op: "open in image", Path: path, Err: fs.ErrNotExist}
	}
	u, err := layer.OpenUnion(i.Layers)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	return u.Open(path)
}
