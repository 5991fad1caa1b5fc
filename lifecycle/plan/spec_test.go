package plan_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// specTable is the documentation of the configuration's fields.
const specTable = "../../docs/spec.md"

// TestEveryFieldIsDocumented: each field of the runtime-spec's Go structures
// has one row in the table, of its own or of what it is part of, and each row
// has fields.
func TestEveryFieldIsDocumented(t *testing.T) {
	text, err := os.ReadFile(specTable)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]int{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.HasPrefix(cells[1], " `") {
			for _, name := range strings.Split(cells[1], ",") {
				rows[strings.Trim(name, " `")] = 0
			}
		}
	}
	var list []string
	walk(reflect.TypeFor[specs.Spec](), "", &list)
	for _, field := range list {
		found := 0
		for part := field; part != ""; part = part[:max(0, strings.LastIndexByte(part, '.'))] {
			if _, ok := rows[part]; ok {
				rows[part]++
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s has %d rows", field, found)
		}
	}
	for row, fields := range rows {
		if fields == 0 {
			t.Errorf("%s is no field of the specification", row)
		}
	}
	if len(list) < 150 {
		t.Errorf("only %d fields", len(list))
	}
}

// walk lists the fields of a structure by their names in JSON. Other systems'
// sections are one field each.
func walk(of reflect.Type, prefix string, list *[]string) {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return
	}
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous {
			walk(f.Type, prefix, list)
			continue
		}
		before := len(*list)
		if platform := f.Tag.Get("platform"); platform == "" || strings.Contains(platform, "linux") || prefix != "" {
			walk(f.Type, prefix+name+".", list)
		}
		if len(*list) == before {
			*list = append(*list, prefix+name)
		}
	}
}
