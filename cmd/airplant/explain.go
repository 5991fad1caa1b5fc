//go:build !small

package main

import (
	"fmt"
	"path/filepath"

	"airplant/internal/birth"
	"airplant/lifecycle"
	"airplant/userns"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// explainCmd takes what run takes, or a bundle.
type explainCmd struct {
	runCmd
	Bundle string `short:"b" help:"Explain a bundle instead of an image." placeholder:"DIR"`
	JSON   bool   `name:"json" help:"Print JSON."`
	Create bool   `help:"Explain create, which waits for start, instead of run."`
}

// explained is the JSON form.
type explained struct {
	CloneFlags string       `json:"cloneFlags"`
	MapBy      string       `json:"mapBy"`
	UIDMap     string       `json:"uidMap,omitempty"`
	GIDMap     string       `json:"gidMap,omitempty"`
	Program    []birth.Line `json:"program"`
}

func (c *explainCmd) Run(e *env) error {
	spec, o, err := c.load(e)
	if err != nil {
		return err
	}
	r := &lifecycle.Runtime{}
	p, err := r.Plan(spec, o, c.Create)
	if err == nil {
		err = p.Complete()
	}
	if err != nil {
		return err
	}
	x := explained{
		CloneFlags: birth.CloneFlags(p.CloneFlags), MapBy: string(p.MapBy),
		UIDMap: userns.Text(p.Map.UIDs), GIDMap: userns.Text(p.Map.GIDs), Program: p.Lines(),
	}
	if c.JSON {
		return printJSON(e, x)
	}
	fmt.Fprint(e.stdout, p.Explain())
	return nil
}

// load finds the configuration of a bundle, or of the container that run would
// make. Its folder does not exist.
func (c *explainCmd) load(e *env) (*specs.Spec, *lifecycle.CreateOptions, error) {
	if c.Bundle != "" {
		bundle, err := filepath.Abs(c.Bundle)
		if err != nil {
			return nil, nil, err
		}
		spec, err := lifecycle.LoadSpec(bundle)
		return spec, &lifecycle.CreateOptions{Bundle: bundle}, err
	}
	h, err := e.home()
	if err != nil {
		return nil, nil, err
	}
	b, release, err := c.prepare(e)
	if err != nil {
		return nil, nil, err
	}
	release()
	b.Bundle = filepath.Join(h.Data, "containers", "ID")
	return b.spec, &b.CreateOptions, c.describe(b.Bundle, "ID", b)
}
