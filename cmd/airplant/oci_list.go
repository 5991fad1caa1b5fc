package main

import (
	stdjson "encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"airplant/lifecycle"
	"airplant/userns"

	"github.com/go-json-experiment/json"
)

type ociList struct {
	Format string   `short:"f" help:"table or json." enum:"table,json" default:"table"`
	Quiet  bool     `short:"q" help:"Names only."`
	Filter []string `help:"Only those of which it is true: annotation=KEY or annotation=KEY=VALUE; all of them, if given often." sep:"none" placeholder:"FILTER"`
}

func (c *ociList) Run(e *env, g *ociGlobals) error {
	wanted, err := parseFilters(c.Filter)
	if err != nil {
		return err
	}
	r, err := g.runtime(e)
	if err != nil {
		return err
	}
	list, err := r.List()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s *lifecycle.State) bool { return !wanted(s) })
	switch {
	case c.Quiet:
		for _, s := range list {
			fmt.Fprintln(e.stdout, s.ID)
		}
	case c.Format == "json":
		out := make([]owned, 0, len(list))
		for _, s := range list {
			out = append(out, owned{s, owner(s.OwnerUID)})
		}
		text, err := json.Marshal(out)
		if err != nil {
			return err
		}
		_, err = e.stdout.Write(append(text, '\n'))
		return err
	default:
		w := tabwriter.NewWriter(e.stdout, 12, 1, 3, ' ', 0)
		fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
		for _, s := range list {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.PID, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), owner(s.OwnerUID))
		}
		return w.Flush()
	}
	return nil
}

// parseFilters makes a condition of what --filter was given.
func parseFilters(filters []string) (func(*lifecycle.State) bool, error) {
	for _, f := range filters {
		if key, _, _ := strings.Cut(strings.TrimPrefix(f, annotationFilter), "="); !strings.HasPrefix(f, annotationFilter) || key == "" {
			return nil, fmt.Errorf("--filter %s: not annotation=KEY or annotation=KEY=VALUE", f)
		}
	}
	return func(s *lifecycle.State) bool {
		for _, f := range filters {
			key, value, some := strings.Cut(strings.TrimPrefix(f, annotationFilter), "=")
			if got, ok := s.Annotations[key]; !ok || some && got != value {
				return false
			}
		}
		return true
	}, nil
}

const annotationFilter = "annotation="

// owned is a state with the name of its owner, as runc prints it.
type owned struct {
	*lifecycle.State
	Owner string `json:"owner"`
}

// owner is a user's name, or #number for one without, as runc prints it.
func owner(uid int) string {
	if name := userns.Login(uid); name != "" {
		return name
	}
	return fmt.Sprintf("#%d", uid)
}

type ociSpec struct {
	Bundle   string `short:"b" help:"Folder for config.json; the current one without it." default:"." placeholder:"DIR"`
	Rootless bool   `help:"For a user: one id in a user namespace."`
}

func (c *ociSpec) Run(e *env) error {
	spec := lifecycle.Example()
	if c.Rootless {
		lifecycle.Unprivileged(spec, userns.One(os.Geteuid(), os.Getegid(), 0, 0))
	}
	text, err := stdjson.MarshalIndent(spec, "", "\t")
	if err != nil {
		return err
	}
	name := filepath.Join(c.Bundle, "config.json")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if os.IsExist(err) {
		return fmt.Errorf("%s exists; it is not overwritten", name)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return f.Close()
}
