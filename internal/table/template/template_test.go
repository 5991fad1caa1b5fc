package template

import (
	"strings"
	"testing"
)

// TestPrint prints tables as docker would.
func TestPrint(t *testing.T) {
	for _, c := range []struct{ template, rows, want string }{
		{`{{.ID}}`, `[{"ID":"a"},{"ID":"b"}]`, "a\nb\n"},
		{`{{.N}} {{if gt .N 9}}big{{end}} {{.F}}`, `[{"N":12345678901,"F":1.5}]`, "12345678901 big 1.5\n"},
		{`table {{.ID}}\t{{.Tag}}`, `[{"ID":"a","Tag":"long"},{"ID":"bcd","Tag":"x"}]`, "THE ID   TAG\na        long\nbcd      x\n"},
		{`table {{upper .ID}}\t{{join .L ","}}`, `[{"ID":"a","L":[1,"b"]}]`, "THE ID   LIST\nA        1,b\n"},
		{`{{json .}}`, `[{"b":"<&>","a":[1]}]`, "{\"a\":[1],\"b\":\"<&>\"}\n"},
		{`{{title .A}}{{pad .A 1 2}}{{truncate .A 2}}{{index (split .A " ") 1}}{{len .L}}`, `[{"A":"ab cd","L":[]}]`, "Ab Cd ab cd  abcd0\n"},
		{`{{range $k, $v := .M}}{{$k}}={{$v}};{{end}}{{keys .M}}`, `[{"M":{"b":1,"a":2}}]`, "a=2;b=1;[a b]\n"},
		{`tables`, `[{}]`, "tables\n"},
	} {
		var out strings.Builder
		in := `{"template":` + quote(c.template) + `,"header":{"ID":"THE ID","Tag":"TAG","L":"LIST"},"rows":` + c.rows + `}`
		if err := Read(strings.NewReader(in), &out); err != nil || out.String() != c.want {
			t.Errorf("%s: got %q %v, want %q", c.template, out.String(), err, c.want)
		}
	}
}

func quote(s string) string {
	text, _ := toJSON(s)
	return text
}

// TestMistakes sees that a mistake prints nothing and names itself.
func TestMistakes(t *testing.T) {
	for template, want := range map[string]string{
		`{{.ID`:            "--format: 1: unclosed action",
		`{{.No}}`:          `no entry for key "No"`,
		`{{nothing 1}}`:    `function "nothing" not defined`,
		``:                 "empty template",
		`{{join .ID " "}}`: "join of a string",
	} {
		var out strings.Builder
		err := Read(strings.NewReader(`{"template":`+quote(template)+`,"rows":[{"ID":"x"}]}`), &out)
		if err == nil || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%s: got %q %v, want %q", template, out.String(), err, want)
		}
	}
}
