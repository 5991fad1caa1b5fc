package main

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// quick reads the plain command lines that engines and scripts send, by the
// same struct tags as kong, which takes 0.4 ms to build a grammar and parse, and
// more to be there. It knows flags that take one word, in full spelling, switches
// in one word (-it), and arguments. At anything else, a mistake included, it
// gives up, and kong decides. A test compares the two.
type quick struct {
	flags map[string]flag
	args  []argument
	last  reflect.Value // a list that takes all further arguments
}

// flag is where a flag's value goes, and what is said of it.
type flag struct {
	to  reflect.Value
	tag reflect.StructTag
}

type argument struct {
	to       reflect.Value
	optional bool
}

// read reads args into the structs that to points to. What it changed is of no
// use when it reports false.
func (q *quick) read(args []string, to ...any) bool {
	q.flags = map[string]flag{}
	for _, p := range to {
		if !q.fields(reflect.ValueOf(p).Elem()) {
			return false
		}
	}
	for n := 0; n < len(args); n++ {
		a := args[n]
		switch {
		case a == "--":
			return q.rest(args[n+1:])
		case !strings.HasPrefix(a, "-") || a == "-":
			if !q.argument(a) {
				return false
			}
		default:
			used, ok := q.flag(args[n:])
			if !ok {
				return false
			}
			n += used
		}
	}
	return q.complete()
}

// fields lists the flags and arguments of a struct, and sets defaults.
func (q *quick) fields(v reflect.Value) bool {
	for n := range v.NumField() {
		f, field := v.Type().Field(n), v.Field(n)
		tag := f.Tag
		_, isArg := tag.Lookup("arg")
		switch {
		case f.Anonymous:
			if !q.fields(field) {
				return false
			}
		case !f.IsExported():
		case isArg && field.Kind() == reflect.Slice:
			q.last = field
		case isArg:
			_, optional := tag.Lookup("optional")
			q.args = append(q.args, argument{field, optional})
			field.SetString(tag.Get("default"))
		default:
			name := tag.Get("name")
			if name == "" {
				name = kebab(f.Name)
			}
			q.flags["--"+name] = flag{field, tag}
			if short := tag.Get("short"); short != "" {
				q.flags["-"+short] = flag{field, tag}
			}
			if value, ok := tag.Lookup("default"); ok && !assign(flag{field, tag}, value) {
				return false
			}
		}
	}
	return true
}

// rest reads what follows "--": arguments only.
func (q *quick) rest(args []string) bool {
	for len(args) > 0 && len(q.args) > 0 {
		q.argument(args[0])
		args = args[1:]
	}
	if len(args) > 0 {
		if !q.last.IsValid() {
			return false
		}
		q.last.Set(reflect.ValueOf(slices.Clone(args)))
	}
	return q.complete()
}

// complete tells whether nothing is missing.
func (q *quick) complete() bool {
	return !slices.ContainsFunc(q.args, func(a argument) bool { return !a.optional })
}

func (q *quick) argument(a string) bool {
	if len(q.args) == 0 {
		return false
	}
	q.args[0].to.SetString(a)
	q.args = q.args[1:]
	return true
}

// flag reads one flag and, unless it is a switch, its value.
func (q *quick) flag(args []string) (used int, ok bool) {
	name, value, joined := strings.Cut(args[0], "=")
	f, ok := q.flags[name]
	switch {
	case !ok:
		return 0, q.switches(name) && !joined
	case joined && !strings.HasPrefix(name, "--"):
		return 0, false
	case f.to.Kind() == reflect.Bool:
		// Of a type of its own, a switch does something when it is parsed.
		return 0, !joined && f.to.Type() == reflect.TypeFor[bool]() && assign(f, "true")
	case !joined:
		if len(args) < 2 || strings.HasPrefix(args[1], "-") && args[1] != "-" {
			return 0, false
		}
		value, used = args[1], 1
	}
	if enum, ok := f.tag.Lookup("enum"); ok && !slices.Contains(strings.Split(enum, ","), value) {
		return 0, false
	}
	return used, assign(f, value)
}

// switches reads letters that are switches, as -it.
func (q *quick) switches(word string) bool {
	if strings.HasPrefix(word, "--") {
		return false
	}
	for _, letter := range word[1:] {
		f, ok := q.flags["-"+string(letter)]
		if !ok || f.to.Type() != reflect.TypeFor[bool]() {
			return false
		}
		f.to.SetBool(true)
	}
	return true
}

// assign sets a field of a simple kind, or adds to a list whose elements no sign
// parts.
func assign(f flag, value string) bool {
	switch f.to.Kind() {
	case reflect.String:
		f.to.SetString(value)
	case reflect.Bool:
		f.to.SetBool(value == "true")
	case reflect.Int:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return false
		}
		f.to.SetInt(n)
	case reflect.Pointer:
		if f.to.Type() != reflect.TypeFor[*string]() {
			return false
		}
		f.to.Set(reflect.ValueOf(&value))
	case reflect.Slice:
		if f.to.Type() != reflect.TypeFor[[]string]() || f.tag.Get("sep") != "none" && strings.Contains(value, ",") {
			return false
		}
		f.to.Set(reflect.Append(f.to, reflect.ValueOf(value)))
	default:
		return false
	}
	return true
}
