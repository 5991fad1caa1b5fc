package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"airplant/lifecycle/seccomp"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// security applies --security-opt. Without a word about seccomp the container
// gets the default profile for its capabilities, which are known by now.
func (c *runCmd) security(spec *specs.Spec) (err error) {
	profile := "builtin"
	for _, option := range c.SecurityOpt {
		name, value, _ := strings.Cut(option, "=")
		if before, after, ok := strings.Cut(option, ":"); ok && before == "no-new-privileges" {
			name, value = before, after
		}
		switch {
		case name == "no-new-privileges":
			on := true
			if value != "" {
				if on, err = strconv.ParseBool(value); err != nil {
					return fmt.Errorf("--security-opt %s: want true or false", option)
				}
			}
			spec.Process.NoNewPrivileges = on
		case name == "seccomp" && value != "":
			profile = value
		case option == "label=disable", option == "apparmor=unconfined":
			// That is how it is.
		default:
			return fmt.Errorf("--security-opt %s: want seccomp=unconfined, seccomp=FILE, or no-new-privileges", option)
		}
	}
	switch profile {
	case "unconfined":
		return nil
	case "builtin":
		spec.Linux.Seccomp, err = seccomp.Default(spec)
		return err
	}
	text, err := os.ReadFile(profile)
	if err == nil {
		spec.Linux.Seccomp, err = seccomp.Load(text, spec)
	}
	if err != nil {
		return fmt.Errorf("--security-opt seccomp=%s: %w", profile, err)
	}
	return nil
}
