package birth

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Line is an instruction as people and programs read it.
type Line struct {
	Index   int      `json:"index"`
	Section string   `json:"section"`
	Label   string   `json:"label"`
	Call    string   `json:"call"`
	Args    []string `json:"args"`
	Result  string   `json:"result,omitempty"` // the cell that takes it
	On      []string `json:"on,omitempty"`     // what other results do
}

// Lines lists the whole program.
func (p *Program) Lines() []Line {
	lines := p.Prelude.lines("prelude", 0)
	return append(lines, p.Main.lines("main", p.Prelude.Len())...)
}

func (s *Section) lines(name string, first int) []Line {
	list := make([]Line, 0, len(s.instrs))
	for n, i := range s.instrs {
		l := Line{Index: first + n, Section: name, Label: i.Label, Call: i.Call.String(), Args: i.args()}
		switch {
		case i.toReports:
			l.Result = "<report>"
		case i.save != nil:
			l.Result = i.save.String()
		}
		for _, j := range i.ranges {
			l.On = append(l.On, j.describe(first+n, first))
		}
		list = append(list, l)
	}
	return list
}

// String is one line of text; calls of the plan's own kind read naturally.
func (l Line) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%4d  %s(%s)", l.Index, l.Call, strings.Join(l.Args, ", "))
	if l.Result != "" {
		fmt.Fprintf(&b, " = %s", l.Result)
	}
	if len(l.On) > 0 {
		fmt.Fprintf(&b, "  [%s]", strings.Join(l.On, "; "))
	}
	fmt.Fprintf(&b, "  # %s", l.Label)
	return b.String()
}

func (j jump) describe(at, first int) string {
	to := "go on"
	if j.to != nil && first+j.to.index != at+1 {
		to = fmt.Sprintf("to %d", first+j.to.index)
	}
	switch {
	case j.lo == math.MinInt64 && j.hi == math.MaxInt64:
		return to
	case j.lo == -maxErrno && j.hi == -1:
		return "any error: " + to
	case j.lo == 0 && j.hi == math.MaxInt64:
		return "success: " + to
	case j.lo == j.hi && j.lo < 0:
		return unix.ErrnoName(syscall.Errno(-j.lo)) + ": " + to
	case j.lo == j.hi:
		return fmt.Sprintf("%d: %s", j.lo, to)
	}
	return fmt.Sprintf("%d..%d: %s", j.lo, j.hi, to)
}

func (i *Instr) args() []string {
	list := make([]string, 0, len(i.Args))
	for n, a := range i.Args {
		switch a.kind {
		case argConst:
			list = append(list, constText(i.Call, n, a.value, i.Args))
		case argPtr:
			list = append(list, pointerText(a.data))
		case argLoad:
			text := a.data.String()
			if a.value > 0 {
				text += fmt.Sprintf("+%d", a.value)
			}
			list = append(list, text)
		case argInput:
			list = append(list, "<"+a.data.text+">")
		}
	}
	return list
}

func pointerText(d *Data) string {
	text := d.String()
	if strings.HasPrefix(text, "<") {
		return "&" + text
	}
	return text
}

// String is how people read it. Few programs are ever printed, so that it is
// made only then.
func (d *Data) String() string {
	if d.show != nil {
		return d.show(d)
	}
	return d.text
}

func (d *Data) quoted() string { return strconv.Quote(string(d.bytes[:len(d.bytes)-1])) }

func (d *Data) cell() string { return "<" + d.text + ">" }

func (d *Data) vector() string {
	list := make([]string, len(d.ptrs))
	for i, p := range d.ptrs {
		list[i] = p.to.String()
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// word is the nth word of a structure.
func (d *Data) word(n int) uint64 { return binary.LittleEndian.Uint64(d.bytes[8*n:]) }
