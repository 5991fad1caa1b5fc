// Package template prints a table by a template, with docker's functions and
// headings.
package template

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
	"unicode"

	"airplant/internal/table"
)

// Read reads a table as package table's type is written, and prints it.
func Read(in io.Reader, out io.Writer) error {
	d := json.NewDecoder(in)
	d.UseNumber()
	var t table.Table
	if err := d.Decode(&t); err != nil {
		return err
	}
	return Print(&t, out)
}

// Print prints a table whose numbers are json.Number.
func Print(t *table.Table, out io.Writer) error {
	text, tabular := strings.CutPrefix(t.Template, "table")
	if tabular = tabular && (text == "" || unicode.IsSpace(rune(text[0]))); !tabular {
		text = t.Template
	}
	text = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(strings.TrimLeft(text, " "))
	if text == "" {
		return errors.New("--format: empty template")
	}
	tmpl, err := template.New("").Funcs(functions()).Option("missingkey=error").Parse(text)
	if err != nil {
		return fmt.Errorf("--format: %w", mend(err))
	}
	w := out
	if tabular {
		tw := tabwriter.NewWriter(out, 0, 8, 3, ' ', 0)
		defer tw.Flush()
		w = tw
		head, err := template.New("").Funcs(headings()).Parse(text)
		if err == nil {
			err = line(head, t.Header, w)
		}
		if err != nil {
			return fmt.Errorf("--format: %w", mend(err))
		}
	}
	for _, row := range t.Rows {
		if err := line(tmpl, plain(row), w); err != nil {
			return fmt.Errorf("--format: %w", mend(err))
		}
	}
	return nil
}

// line prints a row at once, or none of it.
func line(t *template.Template, row any, w io.Writer) error {
	var b bytes.Buffer
	if err := t.Execute(&b, row); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// mend takes the empty name of the template out of its errors.
func mend(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "template: :"))
}

// plain turns numbers into those that templates print and compare as people
// expect.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	case []any:
		for n := range v {
			v[n] = plain(v[n])
		}
	}
	return v
}

// functions are those that docker's templates have.
func functions() template.FuncMap {
	return template.FuncMap{
		"json": toJSON, "join": join, "split": strings.Split, "pad": pad, "truncate": truncate,
		"lower": strings.ToLower, "upper": strings.ToUpper, "title": title, "println": fmt.Sprintln,
		"keys": func(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) },
	}
}

// headings are functions that leave a heading as it is.
func headings() template.FuncMap {
	f := functions()
	for _, name := range []string{"json", "lower", "upper", "title"} {
		f[name] = func(s any) any { return s }
	}
	for _, name := range []string{"join", "split", "truncate"} {
		f[name] = func(s, _ any) any { return s }
	}
	return f
}

func toJSON(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func join(list any, sep string) (string, error) {
	var words []string
	switch l := list.(type) {
	case nil:
	case []string:
		words = l
	case []any:
		for _, v := range l {
			words = append(words, fmt.Sprint(v))
		}
	default:
		return "", fmt.Errorf("join of a %T", list)
	}
	return strings.Join(words, sep), nil
}

func pad(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
}

func truncate(s string, n int) string {
	if r := []rune(s); n >= 0 && len(r) > n {
		return string(r[:n])
	}
	return s
}

func title(s string) string {
	up := true
	return strings.Map(func(c rune) rune {
		was := up
		up = unicode.IsSpace(c)
		if was {
			return unicode.ToTitle(c)
		}
		return c
	}, s)
}
