package registry

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
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

// Hint tells what to do about a certificate.
func (e *UnreachableError) Hint() string {
	if !isCertificate(e.Err) {
		return ""
	}
	return "if the registry has an authority of its own, put its certificate into ~/.config/containers/certs.d/" + e.Host + "/ca.crt"
}

// URL is where the registry should have been.
func (e *UnreachableError) URL() string { return BaseURL(e.Host) }

// StatusError is an answer other than success.
type StatusError struct {
	Host    string
	Code    int    // HTTP status
	Message string // what the registry says, may be empty
	Retry   string // the header Retry-After
	Limit   string // the header RateLimit-Limit
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

// Hint tells what to do about too many requests.
func (e *StatusError) Hint() string {
	if e.Code != http.StatusTooManyRequests {
		return ""
	}
	var parts []string
	if limit := readableLimit(e.Limit); limit != "" {
		parts = append(parts, "the limit here is "+limit)
	}
	if e.Retry != "" {
		wait := e.Retry
		if d, ok := retryAfter(e.Retry, time.Now()); ok {
			wait = d.Round(time.Second).String()
		}
		parts = append(parts, "pull again in "+wait)
	}
	parts = append(parts, "log in for a higher limit: airplant login "+e.Host)
	return strings.Join(parts, "; ")
}

// readableLimit reads "100;w=21600", which docker.io sends for 100 pulls in
// 21,600 seconds.
func readableLimit(s string) string {
	count, window, _ := strings.Cut(s, ";w=")
	n, err := strconv.ParseUint(count, 10, 31)
	if err != nil {
		return ""
	}
	if seconds, err := strconv.ParseUint(window, 10, 31); err == nil {
		return fmt.Sprintf("%d pulls in %v", n, time.Duration(seconds)*time.Second)
	}
	return fmt.Sprintf("%d pulls", n)
}

func isCertificate(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// isTLS tells errors of TLS that no further try changes: of certificates, and
// that the other side speaks plain HTTP or has no use for our certificate.
func isTLS(err error) bool {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	return isCertificate(err) || record || alert || errors.Is(err, http.ErrSchemeMismatch)
}

// statusError reads what an unsuccessful answer says, and closes it.
func statusError(host string, resp *http.Response) *StatusError {
	defer resp.Body.Close()
	e := &StatusError{Host: host, Code: resp.StatusCode, Retry: printable(resp.Header.Get("Retry-After")), Limit: resp.Header.Get("RateLimit-Limit")}
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
