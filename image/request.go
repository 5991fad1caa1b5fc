package image

import "fmt"

// Request is a pull that one program asks of another, as JSON.
type Request struct {
	Store string `json:"store"` // folder
	Image string `json:"image"`
	// Others are further names that the person may have meant, to be tried
	// where there is no such image.
	Others   []string `json:"others,omitempty"`
	Platform string   `json:"platform,omitempty"`
	Policy   Policy   `json:"policy"`
	Quiet    bool     `json:"quiet"`
	NoID     bool     `json:"noID"`  // do not print the image's id
	OneID    bool     `json:"oneID"` // owners are noted, not set
}

// CheckRequest is a check of the store that one program asks of another.
type CheckRequest struct {
	Store  string   `json:"store"`
	Repair bool     `json:"repair"`
	Busy   []string `json:"busy"` // see [CheckOptions]
	OneID  bool     `json:"oneID"`
	JSON   bool     `json:"json"`
}

// LoginRequest is a login, or a logout, that one program asks of another.
type LoginRequest struct {
	Host          string `json:"host,omitempty"` // empty: all, of a logout
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	PasswordStdin bool   `json:"passwordStdin,omitempty"`
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
