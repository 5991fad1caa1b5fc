//go:build !small

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"airplant/image"
	"airplant/internal/table"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

type inspectCmd struct {
	Format   string   `short:"f" help:"Print by a template of Go's, or json." placeholder:"TEMPLATE"`
	Type     string   `help:"What to look for." enum:",image" default:""`
	Size     bool     `short:"s" hidden:""`
	Platform string   `help:"Platform of the image: os/arch[/variant]." placeholder:"PLATFORM"`
	Images   []string `arg:"" help:"Names or ids of images."`
}

func (c *inspectCmd) Run(e *env) error {
	store, err := e.store()
	if err != nil {
		return err
	}
	rows := []any{}
	var errs []error
	for _, name := range c.Images {
		found, err := e.find(store, name, c.Platform)
		var d *image.Details
		if err == nil {
			d, err = store.Inspect(found)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		rows = append(rows, d)
	}
	if c.Format != "" && c.Format != "json" {
		if len(rows) > 0 {
			err = e.print(&table.Table{Template: c.Format, Rows: rows})
		}
	} else {
		err = printIndented(e, rows)
	}
	if err != nil {
		return err
	}
	return e.several(errs)
}

// find looks an image up by what a person calls it.
func (e *env) find(store *image.Store, name, platform string) ([]*image.Image, error) {
	if platform == "" {
		return store.Find(name, nil)
	}
	p, err := image.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	return store.Find(name, &p)
}

func printIndented(e *env, v any) error {
	if err := json.MarshalWrite(e.stdout, v, jsontext.WithIndent("    "), json.Deterministic(true)); err != nil {
		return err
	}
	_, err := fmt.Fprintln(e.stdout)
	return err
}

// printLine prints JSON on one line.
func printLine(e *env, v any) error {
	if err := json.MarshalWrite(e.stdout, v, json.Deterministic(true)); err != nil {
		return err
	}
	_, err := fmt.Fprintln(e.stdout)
	return err
}

type historyCmd struct {
	Format  string `help:"Print by a template of Go's, \"table TEMPLATE\" with headings, or json." placeholder:"TEMPLATE"`
	JSON    bool   `name:"json" help:"Print JSON."`
	Human   bool   `short:"H" help:"Print times and sizes for people." default:"true" negatable:""`
	NoTrunc bool   `name:"no-trunc" help:"Print everything in full."`
	Quiet   bool   `short:"q" help:"Print ids only."`
	Image   string `arg:"" help:"Name or id of an image."`
}

// historyRow is a line of `history`, by docker's names of fields.
type historyRow struct{ ID, CreatedSince, CreatedAt, CreatedBy, Size, Comment string }

var historyHeadings = map[string]string{
	"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
}

func (c *historyCmd) Run(e *env) error {
	store, err := e.store()
	if err != nil {
		return err
	}
	found, err := store.Find(c.Image, nil)
	if err != nil {
		return err
	}
	steps, err := store.History(found[0])
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e, steps)
	}
	var rows []any
	for _, s := range steps {
		rows = append(rows, c.row(s))
	}
	if c.Format != "" && c.Format != "table" {
		return e.rows(c.Format, historyHeadings, rows)
	}
	w := tabwriter.NewWriter(e.stdout, 0, 8, 3, ' ', 0)
	if !c.Quiet {
		fmt.Fprint(w, "IMAGE\tCREATED\tCREATED BY\tSIZE\tCOMMENT\n")
	}
	for _, r := range rows {
		r := r.(historyRow)
		if c.Quiet {
			fmt.Fprintln(w, r.ID)
			continue
		}
		when := r.CreatedSince
		if !c.Human {
			when = r.CreatedAt
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.ID, when, r.CreatedBy, r.Size, r.Comment)
	}
	return w.Flush()
}

func (c *historyCmd) row(s image.Step) historyRow {
	const width = 45
	r := historyRow{ID: "<missing>", CreatedSince: "N/A", CreatedAt: "N/A", CreatedBy: s.CreatedBy, Size: image.Bytes(s.Size), Comment: s.Comment}
	if s.ID != "" {
		r.ID = shortID(string(s.ID), c.NoTrunc)
	}
	if !s.Created.IsZero() {
		r.CreatedSince, r.CreatedAt = since(time.Since(s.Created)), s.Created.Format(time.RFC3339)
	}
	if !c.Human {
		r.Size = fmt.Sprint(s.Size)
	}
	r.CreatedBy, r.Comment = oneLine(r.CreatedBy), oneLine(r.Comment)
	if text := []rune(r.CreatedBy); len(text) > width && !c.NoTrunc {
		r.CreatedBy = string(text[:width-1]) + "…"
	}
	return r
}

// oneLine keeps the words of an image from steering a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
