package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// subject is a runtime under test.
type subject struct {
	Name    string
	Version string
	Path    string
	// Args are the first ones of every call.
	Args []string
	// FlagsV2 go before the verb in the view of cgroup version 2.
	FlagsV2 []string
	// Rootless: it runs where its caller is root of a user namespace alone.
	Rootless bool
}

// findSubjects returns airplant, the peers that are installed, and airplant
// without root.
func findSubjects(ctx context.Context, airplant string) ([]subject, error) {
	path, err := filepath.Abs(airplant)
	if err != nil {
		return nil, err
	}
	all := []subject{{Name: "airplant", Path: path, Args: []string{"oci"}}}
	for _, name := range []string{"crun", "runc"} {
		if path, err := exec.LookPath(name); err == nil {
			all = append(all, subject{Name: name, Path: path})
		}
	}
	for i := range all {
		s := &all[i]
		out, err := exec.CommandContext(ctx, s.Path, append(s.Args, "--version")...).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		s.Version = line[strings.LastIndex(line, " ")+1:]
	}
	for i := range all {
		// crun 1.8 raises its limit of locked memory before it loads the
		// program for devices, and gives up if it may not.
		if all[i].Name == "crun" && !hasCapability(unix.CAP_SYS_RESOURCE) {
			all[i].FlagsV2 = []string{"--cgroup-manager=disabled"}
		}
	}
	rootless := all[0]
	rootless.Name, rootless.Rootless = "rootless", true
	return append(all, rootless), nil
}

func hasCapability(number uintptr) bool {
	got, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, number, 0, 0, 0)
	return err == nil && got == 1
}

// script is a program for sh that calls the runtime with a state of its own:
// the suite knows runtimes by one path.
func (s subject) script(state string, v view) string {
	words := append([]string{"exec", quote(s.Path)}, s.Args...)
	words = append(words, "--root", quote(state))
	if v == viewV2 {
		words = append(words, s.FlagsV2...)
	}
	return "#!/bin/sh\n" + strings.Join(words, " ") + ` "$@"` + "\n"
}

func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
