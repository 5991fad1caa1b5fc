package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const (
	suiteModule = "github.com/opencontainers/runtime-tools"
	suiteFile   = ".ci/conformance.mod"
)

// suite is the built programs, in the directory that they run in.
type suite struct {
	dir      string
	programs []string
}

// buildSuite builds the named programs, or all, and puts beside them what they
// look for in their working directory: runtimetest, which runs in the
// containers, and a root filesystem, which the module has with it.
func buildSuite(ctx context.Context, dir string, names []string) (suite, error) {
	s := suite{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return s, err
	}
	overlay, err := writeOverlay(ctx, dir)
	if err != nil {
		return s, err
	}
	if _, err := goTool(ctx, "build", "-modfile="+suiteFile, "-overlay="+overlay, "-buildvcs=false", "-trimpath", "-ldflags=-s -w",
		"-o", dir+"/", suiteModule+"/validation/...", suiteModule+"/cmd/runtimetest"); err != nil {
		return s, err
	}
	list, err := goTool(ctx, "list", "-modfile="+suiteFile, "-f", "{{if eq .Name `main`}}{{.ImportPath}}{{end}}",
		suiteModule+"/validation/...")
	if err != nil {
		return s, err
	}
	for line := range strings.FieldsSeq(list) {
		s.programs = append(s.programs, filepath.Base(line))
	}
	slices.Sort(s.programs)
	if len(names) > 0 {
		for _, name := range names {
			if !slices.Contains(s.programs, name) {
				return s, fmt.Errorf("no program %q in the suite", name)
			}
		}
		s.programs = names
	}
	return s, s.copyRoot(ctx)
}

func (s suite) copyRoot(ctx context.Context) error {
	out, err := goTool(ctx, "list", "-modfile="+suiteFile, "-m", "-f", "{{.Dir}}", suiteModule)
	if err != nil {
		return err
	}
	name := "rootfs-" + runtime.GOARCH + ".tar.gz"
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(out), name))
	if err != nil {
		return fmt.Errorf("%w: the suite has root filesystems for amd64 and 386 alone", err)
	}
	return os.WriteFile(filepath.Join(s.dir, name), text, 0o644)
}

// writeOverlay takes out of Go what package syscall does at every start since
// Go 1.19: raise the soft limit of open files. The suite is older, and its
// runtimetest would read what Go has set in place of what the runtime gave it.
func writeOverlay(ctx context.Context, dir string) (string, error) {
	root, err := goTool(ctx, "env", "GOROOT")
	if err != nil {
		return "", err
	}
	original := filepath.Join(strings.TrimSpace(root), "src", "syscall", "rlimit.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	const before, after = "\nfunc init() {", "\nfunc raiseNothing() {"
	if bytes.Count(source, []byte(before)) != 1 {
		return "", fmt.Errorf("%s has no init that raises the limit of open files", original)
	}
	changed := filepath.Join(dir, "rlimit.go")
	if err := os.WriteFile(changed, bytes.Replace(source, []byte(before), []byte(after), 1), 0o644); err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{original: changed}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, text, 0o644)
}

// goTool runs the go command in the directory of the module.
func goTool(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, strings.TrimSpace(complaints.String()))
	}
	return string(out), nil
}
