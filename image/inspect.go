package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Details is what `inspect` prints of an image, by docker's names of fields,
// and a few of podman's after them.
type Details struct {
	ID           string `json:"Id"`
	RepoTags     []string
	RepoDigests  []string
	Comment      string
	Created      string
	Author       string
	Config       map[string]any
	Architecture string
	Variant      string
	Os           string
	Size         int64
	GraphDriver  struct {
		Name string
		Data map[string]string
	}
	RootFS struct {
		Type   string
		Layers []digest.Digest
	}
	Metadata struct {
		LastTagTime time.Time
	}
	Descriptor   v1.Descriptor
	Digest       digest.Digest
	ManifestType string
	Labels       map[string]string
	Annotations  map[string]string
	History      []v1.History
}

// Inspect describes an image, given all of its names as [Store.Find] returns
// them.
func (s *Store) Inspect(names []*Image) (*Details, error) {
	d, err := s.details(names)
	if err != nil {
		return nil, &Error{Op: "inspect image", Ref: names[0].Name, Err: err}
	}
	return d, nil
}

func (s *Store) details(names []*Image) (*Details, error) {
	i := names[0]
	config, raw, err := s.config(i)
	if err != nil {
		return nil, err
	}
	r, err := s.readRecord(recordFile(i.Name, i.Platform))
	if err != nil {
		return nil, err
	}
	var manifest v1.Manifest
	text, err := s.readBlob(r.Manifest.Digest)
	if err == nil {
		err = json.Unmarshal(text, &manifest)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	d := &Details{
		ID: string(i.ConfigDigest), RepoTags: []string{}, RepoDigests: []string{},
		Author: config.Author, Config: raw, Architecture: config.Architecture, Variant: config.Variant, Os: config.OS,
		Size: i.Size, Descriptor: r.Manifest, Digest: i.ManifestDigest, ManifestType: r.Manifest.MediaType,
		Labels: config.Config.Labels, Annotations: manifest.Annotations, History: config.History,
	}
	if config.Created != nil {
		d.Created = config.Created.Format(time.RFC3339Nano)
	}
	if n := len(config.History); n > 0 {
		d.Comment = config.History[n-1].Comment
	}
	d.RootFS.Type, d.RootFS.Layers = config.RootFS.Type, config.RootFS.DiffIDs
	d.Metadata.LastTagTime = i.Pulled
	d.GraphDriver.Name, d.GraphDriver.Data = "overlay", map[string]string{}
	if len(i.Layers) > 0 {
		d.GraphDriver.Data["UpperDir"] = i.Layers[0]
		d.GraphDriver.Data["LowerDir"] = strings.Join(i.Layers[1:], ":")
	}
	for _, n := range names {
		d.name(n)
	}
	return d, nil
}

// name adds a name of the image, and the digests that go with its repository.
func (d *Details) name(i *Image) {
	if i.Untagged() {
		return
	}
	if ref, err := ParseReference(i.Name); err != nil || ref.Digest == "" {
		d.RepoTags = append(d.RepoTags, i.Name)
	}
	repo := repositoryOf(i.Name)
	if repo == "" {
		return
	}
	for _, dig := range []digest.Digest{i.Target, i.ManifestDigest} {
		if s := repo + "@" + string(dig); !slices.Contains(d.RepoDigests, s) {
			d.RepoDigests = append(d.RepoDigests, s)
		}
	}
}

// configFields are always there, so that a template may name them.
var configFields = []string{
	"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "OnBuild",
}

// config reads the whole configuration, and what of it docker calls Config,
// with fields that the image-spec does not know.
func (s *Store) config(i *Image) (*v1.Image, map[string]any, error) {
	text, err := s.readBlob(i.ConfigDigest)
	if err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	config := &v1.Image{}
	var raw struct {
		Config map[string]any `json:"config"`
	}
	if err := errors.Join(json.Unmarshal(text, config), json.Unmarshal(text, &raw)); err != nil {
		return nil, nil, fmt.Errorf("configuration: %w", err)
	}
	if raw.Config == nil {
		raw.Config = map[string]any{}
	}
	for _, f := range configFields {
		if _, ok := raw.Config[f]; !ok {
			raw.Config[f] = nil
			if f == "User" || f == "WorkingDir" || f == "StopSignal" {
				raw.Config[f] = ""
			}
		}
	}
	return config, raw.Config, nil
}

// Step is one line of an image's history.
type Step struct {
	ID        digest.Digest `json:"id"` // of the image, on its last step
	Created   time.Time     `json:"created"`
	CreatedBy string        `json:"createdBy"`
	Size      int64         `json:"size"` // bytes in the files of the layer
	Comment   string        `json:"comment"`
	Empty     bool          `json:"emptyLayer"`
}

// History tells how an image was made, the last step first. Layers that the
// configuration has no history for come without words.
func (s *Store) History(i *Image) ([]Step, error) {
	config, _, err := s.config(i)
	if err != nil {
		return nil, &Error{Op: "read history", Ref: i.Name, Err: err}
	}
	chain := chainIDs(config.RootFS.DiffIDs)
	var steps []Step
	next := 0
	layerSize := func() (size int64) {
		if next < len(chain) {
			r, _ := s.layer(chain[next], config.RootFS.DiffIDs[next])
			size = r.Bytes
		}
		next++
		return size
	}
	for _, h := range config.History {
		step := Step{CreatedBy: h.CreatedBy, Comment: h.Comment, Empty: h.EmptyLayer}
		if h.Created != nil {
			step.Created = *h.Created
		}
		if !h.EmptyLayer {
			step.Size = layerSize()
		}
		steps = append(steps, step)
	}
	for next < len(chain) {
		steps = append(steps, Step{Size: layerSize()})
	}
	slices.Reverse(steps)
	if len(steps) > 0 {
		steps[0].ID = i.ConfigDigest
	}
	return steps, nil
}
