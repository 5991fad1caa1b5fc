package image

import (
	"errors"
	"fmt"

	"airplant/image/layer"

	"golang.org/x/sys/unix"
)

// What went wrong, for errors.Is.
var (
	ErrNotFound     = errors.New("no such image")
	ErrUnauthorized = errors.New("access denied")
	ErrRateLimited  = errors.New("too many requests")
	ErrUnreachable  = errors.New("unreachable")
	ErrDigest       = errors.New("content does not match its digest")
	ErrUnsupported  = errors.New("unsupported image")
	ErrNoPlatform   = errors.New("no image for this platform")
	ErrNoCommand    = errors.New("the image has no command")
	ErrFormat       = errors.New("image store of a newer format")
)

// Error is an error of this package, with what a person may do about it.
type Error struct {
	Op   string // "pull", "resolve", "remove", ...
	Ref  string // of the image
	Err  error
	Hint string // a sentence or a command to paste, may be empty
}

func (e *Error) Error() string {
	if e.Ref == "" {
		return e.Op + ": " + e.Err.Error()
	}
	return e.Op + " " + printable(e.Ref) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// printable quotes a reference that could garble a terminal.
func printable(s string) string {
	if q := fmt.Sprintf("%q", s); q != `"`+s+`"` || s == "" {
		return q
	}
	return s
}

// explain makes an Error of err: it adds the sentinel that the cause amounts
// to, and the hint that goes with it.
func explain(op string, ref Reference, err error) error {
	var done *Error
	if err == nil || errors.As(err, &done) {
		return err
	}
	hint, kind := classify(ref, err)
	var own hinted
	if errors.As(err, &own) && own.Hint() != "" {
		hint = own.Hint()
	}
	if kind != nil && !errors.Is(err, kind) {
		err = fmt.Errorf("%w: %w", kind, err)
	}
	return &Error{Op: op, Ref: ref.String(), Err: err, Hint: hint}
}

func classify(ref Reference, err error) (hint string, kind error) {
	var status answered
	var unreachable unreached
	var unmapped *layer.UnmappedError
	switch {
	case errors.As(err, &unmapped):
		return "give yourself subordinate ids, as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER", nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "free some space, for example by: airplant rmi IMAGE", nil
	case errors.As(err, &status):
		return classifyStatus(ref, status)
	case errors.As(err, &unreachable):
		return "check the name of the registry, and the network: curl -sI " + unreachable.URL(), ErrUnreachable
	case errors.Is(err, ErrDigest):
		return "what was downloaded is not what the image describes; nothing of it was kept: pull again", nil
	}
	return "", nil
}

// What errors of registries tell, whoever speaks to them.
type (
	// answered is an answer other than success.
	answered interface {
		error
		HTTPStatus() int
	}
	// unreached means that no answer came.
	unreached interface {
		error
		URL() string // of the registry
	}
	// hinted is an error that knows best what to do about it.
	hinted interface {
		error
		Hint() string // may be empty
	}
)

func classifyStatus(ref Reference, s answered) (hint string, kind error) {
	// The numbers are those of RFC 9110; package net/http is not linked here.
	switch s.HTTPStatus() {
	case 404:
		return "check the name and the tag", ErrNotFound
	case 401, 403:
		// Most registries answer so for what does not exist, too.
		return "check the name, or log in: airplant login " + ref.Host, ErrUnauthorized
	case 429:
		return "wait, or log in for a higher limit: airplant login " + ref.Host, ErrRateLimited
	}
	return "", nil
}
