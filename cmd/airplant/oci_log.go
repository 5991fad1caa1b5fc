package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"airplant/lifecycle"
	"airplant/lifecycle/plan"

	"github.com/go-json-experiment/json"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// reportOCI prints a message, and logs it in the form that engines read.
func (e *env) reportOCI(g *ociGlobals, level, text string) {
	text = strings.ReplaceAll(text, "\n", "; ")
	fmt.Fprintf(e.stderr, "airplant: %s: %s\n", level, text)
	if g.Log == "" {
		return
	}
	f, openErr := os.OpenFile(g.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if openErr != nil {
		fmt.Fprintf(e.stderr, "airplant: error: open the log: %v\n", openErr)
		return
	}
	defer f.Close()
	now := time.Now().Format(time.RFC3339)
	if g.LogFormat == "json" {
		// Text and time cannot fail to be JSON.
		line, _ := json.Marshal(map[string]string{"level": level, "msg": strings.ToValidUTF8(text, "\uFFFD"), "time": now}, json.Deterministic(true))
		fmt.Fprintf(f, "%s\n", line)
		return
	}
	fmt.Fprintf(f, "time=%q level=%s msg=%q\n", now, level, text)
}

// ociVersion prints the version as engines parse it: by the name that we are
// called by, and, for crun's, the folder of states and what works.
func (e *env) ociVersion() int {
	switch name := filepath.Base(e.args[0]); name {
	case "runc", "crun":
		fmt.Fprintf(e.stdout, "%s version %s+airplant\n", name, version)
	default:
		fmt.Fprintf(e.stdout, "airplant version %s\n", version)
	}
	fmt.Fprintf(e.stdout, "commit: %s\n", version)
	if root, err := lifecycle.DefaultRoot(e.getenv("XDG_RUNTIME_DIR"), "oci"); err == nil {
		fmt.Fprintf(e.stdout, "rundir: %s\n", root)
	}
	fmt.Fprintf(e.stdout, "spec: %s\n%s\n", specs.Version, strings.Join(abilities(), " "))
	return 0
}

// abilities are the words of crun's last line, for what works.
func abilities() []string {
	l := plan.Features().Linux
	list := []string{"+CAP"}
	for _, a := range []struct {
		name string
		have *bool
	}{
		{"+SYSTEMD", l.Cgroup.Systemd},
		{"+SELINUX", l.Selinux.Enabled},
		{"+APPARMOR", l.Apparmor.Enabled},
		{"+SECCOMP", l.Seccomp.Enabled},
		{"+EBPF", l.Cgroup.V2}, // rules for devices
	} {
		if a.have != nil && *a.have {
			list = append(list, a.name)
		}
	}
	return list
}
