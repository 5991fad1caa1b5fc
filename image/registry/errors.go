package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// UnreachableError means that no HTTP answer came back.
type UnreachableError struct {
	Host string
	Err  error
}

func (e *UnreachableError) Error() string {
	cause := e.Err
	if u, ok := errors.AsType[*url.Error](e.Err); ok {
		cause = u.Err // without the request, of which Host tells enough
	}
	return fmt.Sprintf("reach %s: %v", e.Host, cause)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// URL is where the registry should have been.
func (e *UnreachableError) URL() string { return BaseURL(e.Host) }

// StatusError is an answer other than success.
type StatusError struct {
	Host    string
	Code    int    // HTTP status
	Message string // what the registry says, may be empty
	Retry   string // the header Retry-After
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("%s answered %d %s", e.Host, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// HTTPStatus is the status of the answer.
func (e *StatusError) HTTPStatus() int { return e.Code }

// RetryAfter is the header of that name, often empty.
func (e *StatusError) RetryAfter() string { return e.Retry }

// statusError reads what an unsuccessful answer says, and closes it.
func statusError(host string, resp *http.Response) *StatusError {
	defer resp.Body.Close()
	e := &StatusError{Host: host, Code: resp.StatusCode, Retry: printable(resp.Header.Get("Retry-After"))}
	var body struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil || json.Unmarshal(text, &body) != nil {
		return e
	}
	var parts []string
	for _, b := range body.Errors {
		parts = append(parts, strings.Trim(strings.ToLower(b.Code)+": "+b.Message, ": "))
		if len(parts) == 3 {
			break
		}
	}
	e.Message = printable(strings.Join(parts, "; "))
	return e
}

// printable keeps a foreign text from steering a terminal or filling it.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
