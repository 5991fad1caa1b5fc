//go:build !small

package main

import (
	"errors"
	"os"

	"airplant/image"
	"airplant/lifecycle"
	"airplant/userns"

	"github.com/go-json-experiment/json"
)

type saveCmd struct {
	Output   string   `short:"o" help:"File, or directory of format oci-dir; standard output without it." placeholder:"PATH"`
	Format   string   `help:"oci-archive, which every docker reads too, docker-archive, or oci-dir." enum:"oci-archive,docker-archive,oci-dir" default:"oci-archive"`
	Platform string   `help:"Save the image for this platform alone: os/arch[/variant]." placeholder:"PLATFORM"`
	Quiet    bool     `short:"q" hidden:""`
	Images   []string `arg:"" help:"Names or ids of images."`
}

func (c *saveCmd) Run(e *env) error {
	h, err := e.home()
	if err != nil {
		return err
	}
	if c.Output == "" || c.Output == "-" {
		if c.Output = ""; c.Format == "oci-dir" {
			return errors.New("--format oci-dir needs -o DIR")
		}
		if f, ok := e.stdout.(*os.File); ok && lifecycle.IsTerminal(f) {
			return &hinted{errors.New("refused to write an archive to a terminal"), "airplant save -o FILE IMAGE"}
		}
	}
	return e.send("save", image.SaveRequest{Store: h.Data, Images: c.Images, Format: c.Format, Output: c.Output, Platform: c.Platform})
}

// send does an errand.
func (e *env) send(verb string, request any) error {
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return e.errand(verb, string(text))
}

// oneID tells whether files in the store have no owners of their own.
func oneID() (bool, error) {
	id, err := identity()
	if err != nil {
		return false, err
	}
	return id.Rung == userns.OneID, nil
}

type loadCmd struct {
	Input    string `short:"i" help:"File, or directory in OCI image layout; standard input without it." placeholder:"PATH"`
	Platform string `help:"Platform to choose from an index: os/arch[/variant]." placeholder:"PLATFORM"`
	Quiet    bool   `short:"q" hidden:""`
}

func (c *loadCmd) Run(e *env) error {
	h, err := e.home()
	if err != nil {
		return err
	}
	if c.Input == "-" {
		c.Input = ""
	}
	if c.Input == "" && lifecycle.IsTerminal(e.stdin) {
		return &hinted{errors.New("standard input is a terminal, not an archive"), "airplant load -i FILE"}
	}
	one, err := oneID()
	if err != nil {
		return err
	}
	return e.send("load", image.LoadRequest{Store: h.Data, Input: c.Input, Platform: c.Platform, OneID: one})
}
