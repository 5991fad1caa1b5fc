package main

import (
	"slices"

	"airplant/image"
	"airplant/image/registries"
	"airplant/internal/lookup"
	"airplant/userns"

	"github.com/go-json-experiment/json"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

type pullCmd struct {
	Platform string `help:"Platform of the image: os/arch[/variant]." placeholder:"PLATFORM"`
	Policy   string `help:"When to ask the source." enum:"always,missing,never" default:"always"`
	Quiet    bool   `short:"q" help:"Print no progress."`
	NoID     bool   `name:"no-id" hidden:""`
	Image    string `arg:"" help:"Reference, oci:DIR[:TAG] or oci-archive:FILE[:TAG]."`
}

func (c *pullCmd) Run(e *env) error {
	// Mistakes are told before anything is started.
	names, err := e.fullNames(c.Image)
	if err != nil {
		return err
	}
	ref, err := parseReference(names[0])
	if err != nil {
		return err
	}
	if _, err := parsePlatform(c.Platform); err != nil {
		return err
	}
	h, err := e.home()
	if err != nil {
		return err
	}
	id, err := identity()
	if err != nil {
		return err
	}
	request, err := json.Marshal(image.Request{
		Store: h.Data, Image: ref.String(), Others: names[1:], Platform: c.Platform, Policy: policies.Get(c.Policy),
		Quiet: c.Quiet, NoID: c.NoID, OneID: id.Rung == userns.OneID,
	})
	if err != nil {
		return err
	}
	return e.errand("pull", string(request))
}

var policies = lookup.Table[string, image.Policy]{{"always", image.PullAlways}, {"missing", image.PullMissing}, {"never", image.PullNever}}

// fullNames gives the references that a short one may stand for, by
// registries.conf: that of an image in the store comes first.
func (e *env) fullNames(s string) ([]string, error) {
	if !registries.IsShort(s) {
		return []string{s}, nil
	}
	config, err := registries.Load(registries.Places{Getenv: e.getenv, Etc: "/etc"})
	if err != nil {
		return nil, err
	}
	names := config.Expand(s)
	if len(names) == 1 {
		return names, nil
	}
	store, err := e.store()
	if err != nil {
		return nil, err
	}
	for i, n := range names {
		ref, err := image.ParseReference(n)
		if err != nil {
			return nil, err
		}
		if _, err := store.Resolve(ref, image.HostPlatform()); err == nil {
			return slices.Insert(slices.Delete(names, i, i+1), 0, n), nil
		}
	}
	return names, nil
}

func parseReference(s string) (image.Reference, error) {
	ref, err := image.ParseReference(s)
	if err != nil {
		return ref, err
	}
	return ref.Absolute()
}

func parsePlatform(s string) (v1.Platform, error) {
	if s == "" {
		return image.HostPlatform(), nil
	}
	return image.ParsePlatform(s)
}

// store opens the store of images.
func (e *env) store() (*image.Store, error) {
	h, err := e.home()
	if err != nil {
		return nil, err
	}
	return image.Open(h.Data)
}
