//go:build !small

package main

import (
	"errors"

	"airplant/image"
	"airplant/lifecycle"
)

type importCmd struct {
	Author    string   `short:"a" help:"Who made it." placeholder:"NAME"`
	Change    []string `short:"c" sep:"none" help:"Apply an instruction of a Dockerfile, as commit does." placeholder:"INSTRUCTION"`
	Message   string   `short:"m" help:"A comment, for the history." placeholder:"TEXT"`
	Platform  string   `help:"Platform of the image: os/arch[/variant]." placeholder:"PLATFORM"`
	Quiet     bool     `short:"q" hidden:""`
	Timestamp string   `help:"Time of creation, in seconds since 1970; by default SOURCE_DATE_EPOCH, or now." placeholder:"SECONDS"`
	Source    string   `arg:"" help:"Tar, perhaps compressed: a file, a URL, or - for standard input."`
	Image     string   `arg:"" optional:"" help:"Name for the image."`
}

func (c *importCmd) Run(e *env) error {
	h, err := e.home()
	if err != nil {
		return err
	}
	if c.Source == "-" && lifecycle.IsTerminal(e.stdin) {
		return errors.New("standard input is a terminal, not an archive")
	}
	r := image.ImportRequest{
		Store: h.Data, Input: c.Source, Changes: c.Change, Message: c.Message, Author: c.Author, Platform: c.Platform,
	}
	if r.Name, err = nameFor(c.Image); err != nil {
		return err
	}
	if r.Created, err = e.created(c.Timestamp); err != nil {
		return err
	}
	if r.OneID, err = oneID(); err != nil {
		return err
	}
	return e.send("import", r)
}
