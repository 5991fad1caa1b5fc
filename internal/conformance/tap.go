package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// point is one line "ok" or "not ok" of the Test Anything Protocol, version 13.
type point struct {
	ok   bool
	text string
	// detail is the "error" of the block that follows, if it has one.
	detail string
}

// stream is one TAP document. A program may print several.
type stream struct {
	points []point
	plan   int // -1 without one
	// loose are errors in blocks before the first point.
	loose []string
}

var (
	pointLine = regexp.MustCompile(`^(not )?ok\b\s*(\d+)?\s*-?\s*(.*)$`)
	planLine  = regexp.MustCompile(`^1\.\.(\d+)\b`)
	errorLine = regexp.MustCompile(`^\s*"?(error|stderr)"?:\s*(.*?),?$`)
	directive = regexp.MustCompile(`(?i)#\s*(todo|skip)`)
)

// parseTAP reads what a program printed. Lines that are no TAP are passed over,
// as the protocol wants it.
func parseTAP(text string) []stream {
	var all []stream
	block := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "TAP version") {
			all, block = append(all, stream{plan: -1}), false
			continue
		}
		if len(all) == 0 {
			continue
		}
		s := &all[len(all)-1]
		switch trimmed := strings.TrimSpace(line); {
		case !block && strings.HasPrefix(line, " ") && trimmed == "---":
			block = true
		case block && trimmed == "...":
			block = false
		case block:
			s.blockLine(line)
		default:
			s.plainLine(line)
		}
	}
	return all
}

func (s *stream) plainLine(line string) {
	if m := planLine.FindStringSubmatch(line); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			s.plan = n
		}
		return
	}
	if m := pointLine.FindStringSubmatch(line); m != nil {
		// What is to be done or skipped is no failure, by the protocol.
		s.points = append(s.points, point{ok: m[1] == "" || directive.MatchString(m[3]), text: m[3]})
	}
}

// blockLine keeps errors: the first of a point, and all that belong to none.
func (s *stream) blockLine(line string) {
	m := errorLine.FindStringSubmatch(line)
	if m == nil {
		return
	}
	text := m[2]
	if plain, err := strconv.Unquote(text); err == nil {
		text = strings.TrimSpace(plain)
	}
	if len(s.points) == 0 {
		s.loose = append(s.loose, text)
		return
	}
	p := &s.points[len(s.points)-1]
	if m[1] == "stderr" || p.detail == "" {
		p.detail = text // a runtime's words say more than "exit status 1"
	}
}

// fault is the first thing that is wrong with a document, "" if nothing is.
//
// Several programs of the suite print no point at all: they report a failure
// as an error in a block, and then the plan 1..0, which a TAP harness takes
// for a skipped test. Such an error is a fault here.
func (s stream) fault() string {
	for _, p := range s.points {
		switch {
		case p.ok:
		case p.detail != "":
			return p.text + ": " + p.detail
		default:
			return p.text
		}
	}
	switch {
	case len(s.points) == 0 && len(s.loose) > 0:
		return s.loose[0]
	case s.plan < 0:
		return "the output ends before the plan"
	case s.plan != len(s.points):
		return fmt.Sprintf("%d of %d tests ran", len(s.points), s.plan)
	}
	return ""
}
