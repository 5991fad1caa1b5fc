package main

import (
	"strings"
	"syscall"
	"testing"
)

func TestJudge(t *testing.T) {
	const head = "TAP version 13\n"
	exit := func(code int) syscall.WaitStatus { return syscall.WaitStatus(code << 8) }
	for _, test := range []struct {
		name string
		o    outcome
		mark mark
		why  string
	}{
		{"all pass", outcome{stdout: head + "ok 1 - a\nok 2\n1..2\n"}, markPass, ""},
		{"the plan comes first", outcome{stdout: head + "1..1\nok 1 - a\n"}, markPass, ""},
		{"one fails", outcome{stdout: head + "ok 1 - a\nnot ok 2 - b\n1..2\n"}, markFail, "b"},
		{"skipped and to be done", outcome{stdout: head + "ok 1 # SKIP x\nnot ok 2 # TODO y\n1..2\n"}, markPass, ""},
		{"a test is missing", outcome{stdout: head + "ok 1 - a\n1..2\n"}, markFail, "1 of 2"},
		{"no plan", outcome{stdout: head + "ok 1 - a\n"}, markFail, "before the plan"},
		{"a second document", outcome{stdout: head + "ok 1 - a\n1..1\n" + head + "not ok 1 - z\n1..1\n"}, markFail, "z"},
		{"nothing wanted, nothing said", outcome{stdout: head + "1..0\n"}, markPass, ""},
		// prestart, poststart, hooks and others say so and exit with 0.
		{"an error of no test", outcome{stdout: head + "  ---\n  {\n    \"error\": \"too late\\nRefer to: x\"\n  }\n  ...\n1..0\n"}, markFail, "too late"},
		{"an error of a test that passes", outcome{stdout: head + "ok 1 - a\n  ---\n  {\n    \"error\": \"exit status 1\",\n    \"reference\": \"x\"\n  }\n  ...\n1..1\n"}, markPass, ""},
		{"the runtime's words", outcome{stdout: head + "not ok 1 - a\n  ---\n  {\n    \"error\": \"exit status 1\",\n    \"stderr\": \"no such thing\\n\"\n  }\n  ...\n1..1\n"}, markFail, "a: no such thing"},
		{"not ok in a block is quoted", outcome{stdout: head + "  ---\n  {\n    \"stdout\": \"\nnot ok 1 - x\n\"\n  }\n  ...\nok 1 - a\n1..1\n"}, markPass, ""},
		{"only a status", outcome{}, markPass, ""},
		{"a bad status", outcome{status: exit(1), stderr: "create: no\nexit status 1\n"}, markFail, "create: no"},
		{"a bad status and no word", outcome{status: exit(1)}, markFail, "without a word"},
		{"a signal", outcome{status: syscall.WaitStatus(syscall.SIGSEGV)}, markFail, "segmentation"},
		{"no end", outcome{stdout: head + "ok 1 - a\n1..1\n", timedOut: true}, markHang, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := judge(test.o)
			if got.mark != test.mark || !strings.Contains(got.why, test.why) || (test.why == "") != (got.why == "") {
				t.Errorf("judge: %q %q, want %q %q", got.mark, got.why, test.mark, test.why)
			}
		})
	}
}

func TestRefusalsCountOnlyBesideContainers(t *testing.T) {
	pass, fail := verdict{mark: markPass}, verdict{mark: markFail}
	results := []result{
		{"default", []verdict{fail, pass}},
		{"process_rlimits_fail", []verdict{pass, pass}},
		{"hostname", []verdict{pass, pass}},
	}
	sober(results)
	if got := results[1].verdicts; got[0].mark != markFail || got[1].mark != markPass {
		t.Errorf("process_rlimits_fail: %v", got)
	}
	if got := results[2].verdicts; got[0].mark != markPass {
		t.Errorf("hostname: %v", got)
	}
}

func TestDocument(t *testing.T) {
	subjects := []subject{{Name: "airplant", Version: "1"}, {Name: "crun", Version: "2"}}
	results := []result{
		{"default", []verdict{{mark: markPass}, {mark: markFail}}},
		{"hooks", []verdict{{mark: markFail}, {mark: markHang}}},
		{"linux_cgroups_blkio", []verdict{{mark: markFail}, {mark: markPass}}},
		{"no_such_program", []verdict{{mark: markFail}, {mark: markPass}}},
	}
	text := document("Linux", subjects, results)
	for _, want := range []string{
		"Of 4 programs airplant 1 passes 1, crun 2 passes 2.",
		"| program | airplant 1 | crun 2 | note |",
		"| default | pass | fail |  |",
		"| hooks | fail | hang | " + notes()["hooks"] + " |",
		"| linux_cgroups_blkio (v1) | fail | pass |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if got := unexplained(results); len(got) != 1 || got[0] != "no_such_program" {
		t.Errorf("unexplained: %v", got)
	}
}

func TestScript(t *testing.T) {
	s := subject{Name: "crun", Path: "/a b/crun", FlagsV2: []string{"--cgroup-manager=disabled"}}
	if got, want := s.script("/s", viewV2), "#!/bin/sh\nexec '/a b/crun' --root '/s' --cgroup-manager=disabled \"$@\"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := s.script("/s", viewV1); strings.Contains(got, "disabled") {
		t.Errorf("flags of the other view: %q", got)
	}
}
