package image

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
)
