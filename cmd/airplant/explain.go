package main

import (
	"fmt"
	"path/filepath"

	"airplant/internal/birth"
	"airplant/lifecycle"
	"airplant/userns"
)

type explainCmd struct {
	Bundle string `short:"b" required:"" help:"The bundle to explain." placeholder:"DIR"`
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
	bundle, err := filepath.Abs(c.Bundle)
	if err != nil {
		return err
	}
	spec, err := lifecycle.LoadSpec(bundle)
	if err != nil {
		return err
	}
	r := &lifecycle.Runtime{}
	p, err := r.Plan(spec, &lifecycle.CreateOptions{Bundle: bundle}, c.Create)
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
