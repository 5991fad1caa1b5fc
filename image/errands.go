package image

import (
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// What one program asks of another, as JSON; see package errand.
type (
	// SaveRequest asks for images in a file or directory.
	SaveRequest struct {
		Store    string   `json:"store"`
		Images   []string `json:"images"`
		Format   string   `json:"format"`
		Output   string   `json:"output,omitempty"` // "": standard output
		Platform string   `json:"platform,omitempty"`
	}
	// LoadRequest asks for the images of a file or directory in the store.
	LoadRequest struct {
		Store    string `json:"store"`
		Input    string `json:"input,omitempty"` // "": standard input
		Platform string `json:"platform,omitempty"`
		OneID    bool   `json:"oneID"`
	}
	// CommitRequest asks for an image of what a container changed.
	CommitRequest struct {
		Store       string          `json:"store"`
		Base        string          `json:"base"`
		Upper       string          `json:"upper"`
		Name        string          `json:"name,omitempty"`
		MountPoints []string        `json:"mountPoints,omitempty"`
		Config      *v1.ImageConfig `json:"config,omitempty"`
		Changes     []string        `json:"changes,omitempty"`
		Author      string          `json:"author,omitempty"`
		Message     string          `json:"message,omitempty"`
		Created     time.Time       `json:"created"`
		Command     string          `json:"command,omitempty"`
		Docker      bool            `json:"docker"`
		OneID       bool            `json:"oneID"`
	}
	// ImportRequest asks for an image of a root filesystem in a tar.
	ImportRequest struct {
		Store    string    `json:"store"`
		Input    string    `json:"input"` // a file, an http URL, or "-"
		Name     string    `json:"name,omitempty"`
		Platform string    `json:"platform,omitempty"`
		Changes  []string  `json:"changes,omitempty"`
		Message  string    `json:"message,omitempty"`
		Author   string    `json:"author,omitempty"`
		Created  time.Time `json:"created"`
		OneID    bool      `json:"oneID"`
	}
	// TreeRequest asks for what a stack of directories shows, as a tar, or for
	// what the first of them changes.
	TreeRequest struct {
		Store       string   `json:"store"`
		Dirs        []string `json:"dirs"` // the top one first
		MountPoints []string `json:"mountPoints,omitempty"`
		Output      string   `json:"output,omitempty"` // "": standard output
		Format      string   `json:"format,omitempty"` // of a list of changes: "" or json
		OneID       bool     `json:"oneID"`
	}
	// PushRequest asks for an image in a registry, a layout or an archive.
	PushRequest struct {
		Store       string `json:"store"`
		Image       string `json:"image"`
		Destination string `json:"destination,omitempty"` // "": the image's own name
		Platform    string `json:"platform,omitempty"`
		AllTags     bool   `json:"allTags"`
		DigestFile  string `json:"digestFile,omitempty"`
		Quiet       bool   `json:"quiet"`
	}
	// ManifestRequest asks for the manifest or index of an image.
	ManifestRequest struct {
		Store  string `json:"store"`
		Image  string `json:"image"`
		Remote bool   `json:"remote"`
	}
)
