// Package errand is what is done in namespace P, where the files of all our ids
// can be read and written, with a registry client or compression: their package
// initialisation would cost every container, so only the whole program has them.
//
// An errand is a verb and a request in JSON.
package errand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"airplant/image"
	"airplant/image/puller"

	"github.com/go-json-experiment/json"
)

// World is what errands know of the outside.
type World struct {
	Getenv         func(string) string
	Stdin          *os.File
	Stdout, Stderr io.Writer
}

// Run does one errand. Results go to standard output, progress to standard
// error.
func Run(ctx context.Context, verb string, request []byte, w World) error {
	switch verb {
	case "pull":
		return with(request, func(r *image.Request) error {
			return puller.Run(ctx, *r, w.Getenv, w.Stdout, w.Stderr)
		})
	case "save":
		return with(request, func(r *image.SaveRequest) error { return save(ctx, r, w) })
	case "load":
		return with(request, func(r *image.LoadRequest) error { return load(ctx, r, w) })
	case "commit":
		return with(request, func(r *image.CommitRequest) error { return commit(ctx, r, w) })
	case "import":
		return with(request, func(r *image.ImportRequest) error { return importTar(ctx, r, w) })
	case "export":
		return with(request, func(r *image.TreeRequest) error { return export(ctx, r, w) })
	case "diff":
		return with(request, func(r *image.TreeRequest) error { return diff(ctx, r, w) })
	case "check":
		return with(request, func(r *image.CheckRequest) error { return puller.Check(ctx, *r, w.Getenv, w.Stdout) })
	case "login":
		return with(request, func(r *image.LoginRequest) error {
			return puller.Login(ctx, *r, w.Getenv, w.Stdin, w.Stdout, w.Stderr)
		})
	case "logout":
		return with(request, func(r *image.LoginRequest) error { return puller.Logout(*r, w.Getenv, w.Stdout) })
	case "push":
		return with(request, func(r *image.PushRequest) error { return push(ctx, r, w) })
	case "manifest":
		return with(request, func(r *image.ManifestRequest) error { return manifest(ctx, r, w) })
	}
	return fmt.Errorf("unknown errand %q", verb)
}

// with reads a request and acts on it.
func with[T any](request []byte, act func(*T) error) error {
	r := new(T)
	if err := json.Unmarshal(request, r); err != nil {
		return errors.Join(errors.New("request"), err)
	}
	return act(r)
}
