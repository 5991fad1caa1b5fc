package image

import "fmt"

// Request is a pull that one program asks of another, as JSON.
type Request struct {
	Store    string `json:"store"` // folder
	Image    string `json:"image"`
	Platform string `json:"platform,omitempty"`
	Policy   Policy `json:"policy"`
	Quiet    bool   `json:"quiet"`
	NoID     bool   `json:"noID"`  // do not print the image's id
	OneID    bool   `json:"oneID"` // owners are noted, not set
}

// Bytes is a number of bytes for people.
func Bytes(n int64) string {
	const unit = 1000
	f, k := float64(n), 0
	for f >= unit && k < 4 {
		f, k = f/unit, k+1
	}
	if k == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %cB", f, " kMGT"[k])
}
