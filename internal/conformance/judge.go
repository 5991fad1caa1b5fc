package main

import (
	"strings"
	"syscall"
)

type mark string

const (
	markPass mark = "pass"
	markFail mark = "fail"
	markHang mark = "hang"
	markNone mark = "-" // not run: no such view on this host
)

// verdict is what one program says about one runtime.
type verdict struct {
	mark mark
	why  string
}

// outcome is how a program ended.
type outcome struct {
	stdout, stderr string
	status         syscall.WaitStatus
	timedOut       bool
}

// judge decides whether a program passes: it ends in time with status 0, its
// plan is fulfilled, and nothing in it failed.
func judge(o outcome) verdict {
	if o.timedOut {
		return verdict{markHang, lastLine(o.stderr)}
	}
	for _, s := range parseTAP(o.stdout) {
		if why := s.fault(); why != "" {
			return verdict{markFail, firstLine(why)}
		}
	}
	switch {
	case o.status.Signaled():
		return verdict{markFail, "killed by " + o.status.Signal().String()}
	case o.status.ExitStatus() != 0:
		why := lastLine(o.stderr)
		if why == "" {
			why = "exit status without a word"
		}
		return verdict{markFail, why}
	}
	return verdict{mark: markPass}
}

// byRefusal are the programs that pass if a container is not created, for
// whatever reason.
func byRefusal(program string) bool {
	switch program {
	case "prestart_fail", "process_capabilities_fail", "process_rlimits_fail":
		return true
	}
	return false
}

// sober takes back what a runtime passed only because it creates nothing at
// all: then the program "default" fails, too.
func sober(results []result) {
	for i := range results {
		if results[i].program != "default" {
			continue
		}
		for j := range results {
			if !byRefusal(results[j].program) {
				continue
			}
			for k := range results[j].verdicts {
				if results[i].verdicts[k].mark != markPass && results[j].verdicts[k].mark == markPass {
					results[j].verdicts[k] = verdict{markFail, "it creates no container at all"}
				}
			}
		}
	}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// lastLine is the last line that is about the matter: not a reference, and not
// the status of a program that has had its say.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(lines[i])
		if line != "" && !strings.HasPrefix(line, "Refer to:") && line != "exit status 1" {
			return line
		}
	}
	return strings.TrimSpace(text)
}
