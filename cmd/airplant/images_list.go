//go:build !small

package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"airplant/image"
	"airplant/internal/table"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

type imagesCmd struct {
	All     bool     `short:"a" help:"All images; there are no intermediate ones."`
	Digests bool     `help:"Print digests of manifests, too."`
	Filter  []string `short:"f" sep:"none" help:"Print what fits: reference=PATTERN, label=KEY[=VALUE], dangling=BOOL, before=IMAGE, since=IMAGE." placeholder:"FILTER"`
	Format  string   `help:"Print by a template of Go's, \"table TEMPLATE\" with headings, or json." placeholder:"TEMPLATE"`
	JSON    bool     `name:"json" help:"Print JSON."`
	NoTrunc bool     `name:"no-trunc" help:"Print ids in full."`
	Quiet   bool     `short:"q" help:"Print ids only."`
	Image   string   `arg:"" optional:"" help:"Only images of this name, which may lack the tag or be a pattern."`
}

// imageRow is a line of `images`, by docker's names of fields.
type imageRow struct {
	ID, Repository, Tag, Digest         string
	CreatedSince, CreatedAt, Size       string
	SharedSize, UniqueSize, VirtualSize string
	Containers, Platform, Name          string
	*image.Image                        `json:"-"`
}

func (c *imagesCmd) Run(e *env) error {
	store, err := e.store()
	if err != nil {
		return err
	}
	list, err := store.Images()
	if err != nil {
		return err
	}
	if list, err = c.choose(store, list); err != nil {
		return err
	}
	switch {
	case c.JSON:
		return printJSON(e, list)
	case c.Quiet && c.Format == "":
		for n, i := range list {
			if n == 0 || i.ConfigDigest != list[n-1].ConfigDigest {
				fmt.Fprintln(e.stdout, c.id(string(i.ConfigDigest)))
			}
		}
		return nil
	case c.Format != "" && c.Format != "table":
		return e.rows(c.Format, imageHeadings, c.rows(list))
	}
	w := tabwriter.NewWriter(e.stdout, 0, 8, 3, ' ', 0)
	digests := func(s string) string {
		if c.Digests {
			return s + "\t"
		}
		return ""
	}
	fmt.Fprintf(w, "REPOSITORY\tTAG\t%sIMAGE ID\tCREATED\tSIZE\n", digests("DIGEST"))
	for _, i := range list {
		r := c.row(i)
		fmt.Fprintf(w, "%s\t%s\t%s%s\t%s\t%s\n", r.Repository, r.Tag, digests(r.Digest), r.ID, r.CreatedSince, r.Size)
	}
	return w.Flush()
}

// imageHeadings are docker's.
var imageHeadings = map[string]string{
	"ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED",
	"CreatedAt": "CREATED AT", "Size": "SIZE", "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
	"VirtualSize": "VIRTUAL SIZE", "Containers": "CONTAINERS", "Platform": "PLATFORM", "Name": "NAME",
}

// rows prints rows by a template, or each as a line of JSON.
func (e *env) rows(format string, headings map[string]string, rows []any) error {
	if format == "json" {
		for _, r := range rows {
			if err := printLine(e, r); err != nil {
				return err
			}
		}
		return nil
	}
	return e.print(&table.Table{Template: format, Header: headings, Rows: rows})
}

func (c *imagesCmd) rows(list []*image.Image) []any {
	var rows []any
	for _, i := range list {
		rows = append(rows, c.row(i))
	}
	return rows
}

func (c *imagesCmd) row(i *image.Image) imageRow {
	r := imageRow{
		ID: c.id(string(i.ConfigDigest)), Digest: string(i.Target), Size: image.Bytes(i.Size), VirtualSize: image.Bytes(i.Size),
		SharedSize: "N/A", UniqueSize: "N/A", Containers: "N/A", Platform: i.Platform.OS + "/" + i.Platform.Architecture,
		Name: i.Name, Image: i, CreatedSince: "N/A", CreatedAt: "N/A",
	}
	if i.Platform.Variant != "" {
		r.Platform += "/" + i.Platform.Variant
	}
	if r.Repository, r.Tag = splitName(i.Name); i.Untagged() {
		r.Name = "<none>:<none>"
	}
	if t := i.Config.Created; t != nil {
		r.CreatedSince, r.CreatedAt = since(time.Since(*t)), t.Local().Format("2006-01-02 15:04:05 -0700 MST")
	}
	return r
}

func (c *imagesCmd) id(s string) string { return shortID(s, c.NoTrunc) }

// shortID cuts an id as docker does.
func shortID(s string, whole bool) string {
	if whole {
		return s
	}
	_, hex, _ := strings.Cut(s, ":")
	return hex[:min(len(hex), 12)]
}

// splitName splits a canonical name into what docker calls repository and tag.
func splitName(name string) (repository, tag string) {
	if strings.HasPrefix(name, "<none>@") {
		return "<none>", "<none>"
	}
	if at := strings.Index(name, "@"); at > 0 && !strings.Contains(name[at:], "/") {
		return name[:at], "<none>"
	}
	if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
		return name[:colon], name[colon+1:]
	}
	return name, "<none>"
}

// since says how long ago something was, as docker does.
func since(d time.Duration) string {
	for _, u := range []struct {
		name string
		size time.Duration
		from int
	}{
		{"year", 365 * 24 * time.Hour, 2},
		{"month", 30 * 24 * time.Hour, 2},
		{"week", 7 * 24 * time.Hour, 2},
		{"day", 24 * time.Hour, 2},
		{"hour", time.Hour, 2},
		{"minute", time.Minute, 2},
		{"second", time.Second, 1},
	} {
		if n := int(d / u.size); n >= u.from {
			if n == 1 {
				return "1 second ago"
			}
			return fmt.Sprintf("%d %ss ago", n, u.name)
		}
	}
	return "Less than a second ago"
}

// choose keeps what the filters and the argument let through.
func (c *imagesCmd) choose(store *image.Store, list []*image.Image) ([]*image.Image, error) {
	var keep []func(*image.Image) bool
	var references []func(*image.Image) bool
	if c.Image != "" {
		keep = append(keep, likeName(c.Image))
	}
	for _, f := range c.Filter {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			return nil, fmt.Errorf("--filter %s: want KEY=VALUE", f)
		}
		switch key {
		case "reference":
			references = append(references, likeName(value))
			continue
		case "label":
			keep = append(keep, func(i *image.Image) bool { return hasLabel(i.Config.Config, value) })
		case "dangling":
			want := value == "true" || value == "1"
			if !want && value != "false" && value != "0" {
				return nil, fmt.Errorf("--filter %s: want true or false", f)
			}
			keep = append(keep, func(i *image.Image) bool { return i.Untagged() == want })
		case "before", "since", "after":
			found, err := store.Find(value, nil)
			if err != nil {
				return nil, err
			}
			keep = append(keep, relative(found[0], key == "before"))
		default:
			return nil, fmt.Errorf("--filter %s: want reference, label, dangling, before or since", f)
		}
	}
	if references != nil {
		keep = append(keep, func(i *image.Image) bool {
			return slices.ContainsFunc(references, func(like func(*image.Image) bool) bool { return like(i) })
		})
	}
	return slices.DeleteFunc(list, func(i *image.Image) bool {
		return slices.ContainsFunc(keep, func(k func(*image.Image) bool) bool { return !k(i) })
	}), nil
}

func relative(to *image.Image, before bool) func(*image.Image) bool {
	return func(i *image.Image) bool {
		if i.Config.Created == nil || to.Config.Created == nil {
			return false
		}
		if before {
			return i.Config.Created.Before(*to.Config.Created)
		}
		return i.Config.Created.After(*to.Config.Created)
	}
}

func hasLabel(c v1.ImageConfig, want string) bool {
	key, value, exact := strings.Cut(want, "=")
	got, ok := c.Labels[key]
	return ok && (!exact || got == value)
}

// likeName tells what a name or pattern means: with or without host and tag.
func likeName(pattern string) func(*image.Image) bool {
	return func(i *image.Image) bool {
		if i.Untagged() {
			return false
		}
		repository, tag := splitName(i.Name)
		short := strings.TrimPrefix(strings.TrimPrefix(repository, "docker.io/"), "library/")
		for _, name := range []string{repository, short, repository + ":" + tag, short + ":" + tag, i.Name} {
			if ok, err := path.Match(pattern, name); ok && err == nil || name == pattern {
				return true
			}
		}
		return false
	}
}
