package registries

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// table is a table of a TOML file. Values are string, bool, int64, []any and
// table.
type table map[string]any

// maxToml bounds what is read of a file, maxDepth how deep values nest.
const (
	maxToml  = 1 << 20
	maxDepth = 32
)

// parseTOML reads the part of TOML 1.0 that configurations of registries use:
// all but dates, floating point numbers and strings of several lines.
func parseTOML(text string) (table, error) {
	if len(text) > maxToml {
		return nil, errors.New("larger than 1 MiB")
	}
	if !utf8.ValidString(text) {
		return nil, errors.New("not in UTF-8")
	}
	root := table{}
	p := &parser{rest: text, line: 1}
	current := root
	for p.skip(true); p.rest != ""; p.skip(true) {
		var err error
		if strings.HasPrefix(p.rest, "[") {
			current, err = p.header(root)
		} else {
			err = p.pair(current, 0)
		}
		if err == nil {
			err = p.endOfLine()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	return root, nil
}

type parser struct {
	rest string
	line int
}

// skip passes over spaces and comments, and with lines also over line ends.
func (p *parser) skip(lines bool) {
	for p.rest != "" {
		switch c := p.rest[0]; {
		case c == ' ' || c == '\t' || c == '\r':
			p.rest = p.rest[1:]
		case c == '#':
			if _, after, ok := strings.Cut(p.rest, "\n"); ok {
				p.rest = "\n" + after
			} else {
				p.rest = ""
			}
		case c == '\n' && lines:
			p.line++
			p.rest = p.rest[1:]
		default:
			return
		}
	}
}

func (p *parser) endOfLine() error {
	if p.skip(false); p.rest != "" && p.rest[0] != '\n' {
		return fmt.Errorf("unexpected %q", p.rest[:1])
	}
	return nil
}

func (p *parser) take(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	if ok {
		p.rest = rest
	}
	return ok
}

// header reads [a.b] or [[a.b]] and returns the table that follows.
func (p *parser) header(root table) (table, error) {
	p.take("[")
	list := p.take("[")
	keys, err := p.keys()
	if err != nil {
		return nil, err
	}
	if !p.take("]") || list && !p.take("]") {
		return nil, errors.New("missing ]")
	}
	parent, err := root.descend(keys[:len(keys)-1])
	if err != nil {
		return nil, err
	}
	last := keys[len(keys)-1]
	if !list {
		return parent.descend(keys[len(keys)-1:])
	}
	old, ok := parent[last].([]any)
	if !ok && parent[last] != nil {
		return nil, fmt.Errorf("%q is no list of tables", last)
	}
	t := table{}
	parent[last] = append(old, t)
	return t, nil
}

// descend finds the table at keys, in the last one of a list, and makes those
// that are missing.
func (t table) descend(keys []string) (table, error) {
	if len(keys) > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	for _, k := range keys {
		switch v := t[k].(type) {
		case nil:
			next := table{}
			t[k] = next
			t = next
		case table:
			t = v
		case []any:
			last, ok := table(nil), false
			if len(v) > 0 {
				last, ok = v[len(v)-1].(table)
			}
			if !ok {
				return nil, fmt.Errorf("%q is no table", k)
			}
			t = last
		default:
			return nil, fmt.Errorf("%q is no table", k)
		}
	}
	return t, nil
}

// keys reads a key with its dots.
func (p *parser) keys() ([]string, error) {
	var keys []string
	for {
		p.skip(false)
		k, err := p.key()
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
		if p.skip(false); !p.take(".") {
			return keys, nil
		}
	}
}

func (p *parser) key() (string, error) {
	if p.rest != "" && (p.rest[0] == '"' || p.rest[0] == '\'') {
		return p.text()
	}
	n := 0
	for n < len(p.rest) && isWord(p.rest[n]) {
		n++
	}
	if n == 0 {
		return "", errors.New("missing key")
	}
	k := p.rest[:n]
	p.rest = p.rest[n:]
	return k, nil
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// pair reads KEY = VALUE.
func (p *parser) pair(t table, depth int) error {
	keys, err := p.keys()
	if err != nil {
		return err
	}
	if !p.take("=") {
		return errors.New("missing =")
	}
	p.skip(false)
	v, err := p.value(depth)
	if err != nil {
		return err
	}
	if t, err = t.descend(keys[:len(keys)-1]); err != nil {
		return err
	}
	last := keys[len(keys)-1]
	if _, ok := t[last]; ok {
		return fmt.Errorf("%q twice", last)
	}
	t[last] = v
	return nil
}

func (p *parser) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	switch {
	case strings.HasPrefix(p.rest, `"""`), strings.HasPrefix(p.rest, "'''"):
		return nil, errors.New("strings of several lines are not supported")
	case strings.HasPrefix(p.rest, `"`), strings.HasPrefix(p.rest, "'"):
		return p.text()
	case p.take("["):
		return p.list(depth)
	case p.take("{"):
		return p.inline(depth)
	}
	n := strings.IndexAny(p.rest, " \t\r\n,]}#")
	if n < 0 {
		n = len(p.rest)
	}
	word := p.rest[:n]
	p.rest = p.rest[n:]
	switch word {
	case "true", "false":
		return word == "true", nil
	}
	number, err := strconv.ParseInt(strings.ReplaceAll(word, "_", ""), 0, 64)
	if err != nil {
		return nil, fmt.Errorf("value %q", word)
	}
	return number, nil
}

func (p *parser) list(depth int) (any, error) {
	list := []any{}
	for {
		if p.skip(true); p.take("]") {
			return list, nil
		}
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		if p.skip(true); !p.take(",") && !strings.HasPrefix(p.rest, "]") {
			return nil, errors.New("missing ]")
		}
	}
}

func (p *parser) inline(depth int) (any, error) {
	t := table{}
	for {
		if p.skip(false); p.take("}") {
			return t, nil
		}
		if err := p.pair(t, depth+1); err != nil {
			return nil, err
		}
		if p.skip(false); !p.take(",") && !strings.HasPrefix(p.rest, "}") {
			return nil, errors.New("missing }")
		}
	}
}

// text reads a string of one line.
func (p *parser) text() (string, error) {
	quote := p.rest[0]
	var b strings.Builder
	for n := 1; n < len(p.rest); n++ {
		switch c := p.rest[n]; {
		case c == quote:
			p.rest = p.rest[n+1:]
			return b.String(), nil
		case c == '\n':
			return "", errors.New("string without end")
		case c == '\\' && quote == '"':
			r, width, err := escape(p.rest[n+1:])
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			n += width
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("string without end")
}

// escape reads what follows a backslash.
func escape(s string) (r rune, width int, err error) {
	if s == "" {
		return 0, 0, errors.New("string without end")
	}
	if i := strings.IndexByte(`btnfre"\`, s[0]); i >= 0 {
		return rune("\b\t\n\f\r\x1b\"\\"[i]), 1, nil
	}
	width = map[byte]int{'u': 5, 'U': 9}[s[0]]
	if width == 0 || len(s) < width {
		return 0, 0, fmt.Errorf("escape \\%c", s[0])
	}
	n, err := strconv.ParseUint(s[1:width], 16, 32)
	if err != nil || !utf8.ValidRune(rune(n)) {
		return 0, 0, fmt.Errorf("escape \\%s", s[:width])
	}
	return rune(n), width, nil
}

func (t table) text(key string) string { s, _ := t[key].(string); return s }

func (t table) truth(key string) bool { b, _ := t[key].(bool); return b }

// texts reads a string or a list of strings.
func (t table) texts(key string) []string {
	if s := t.text(key); s != "" {
		return []string{s}
	}
	var list []string
	values, _ := t[key].([]any)
	for _, v := range values {
		if s, ok := v.(string); ok {
			list = append(list, s)
		}
	}
	return list
}

// tables reads a list of tables.
func (t table) tables(key string) []table {
	var list []table
	values, _ := t[key].([]any)
	for _, v := range values {
		if sub, ok := v.(table); ok {
			list = append(list, sub)
		}
	}
	return list
}

// sub reads a table, an empty one if there is none.
func (t table) sub(key string) table { s, _ := t[key].(table); return s }
