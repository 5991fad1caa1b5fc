package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// bundle makes a bundle as people do: a root file system and `oci spec`.
func (s *story) bundle(ts *testscript.TestScript, args []string) {
	dir := ts.MkAbs(args[0])
	root := filepath.Join(dir, "rootfs")
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		ts.Check(os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	text, err := os.ReadFile(ts.Getenv("BUSYBOX"))
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(root, "bin/busybox"), text, 0o755))
	for _, applet := range applets {
		ts.Check(os.Symlink("busybox", filepath.Join(root, "bin", applet)))
	}
	ts.Check(ts.Exec(s.look(ts, "airplant"), "oci", "spec", "--rootless", "--bundle", dir))
	list, err := json.Marshal(args[1:])
	ts.Check(err)
	s.config(ts, []string{args[0], "process.terminal=false", "process.args=" + string(list)})
}

var applets = []string{
	"cat", "echo", "false", "hostname", "id", "kill", "ls", "mount", "nc", "ps", "pwd", "readlink", "seq", "setsid", "sh", "sleep", "stat", "stty", "touch", "true", "tty", "wc",
}

// config edits a bundle's config.json.
func (s *story) config(ts *testscript.TestScript, args []string) {
	file := ts.MkAbs(filepath.Join(args[0], "config.json"))
	text, err := os.ReadFile(file)
	ts.Check(err)
	spec := map[string]any{}
	ts.Check(json.Unmarshal(text, &spec))
	for _, change := range args[1:] {
		key, value, ok := strings.Cut(change, "=")
		if !ok {
			ts.Fatalf("%q is not KEY=JSON", change)
		}
		ts.Check(set(spec, key, value))
	}
	text, err = json.MarshalIndent(spec, "", "\t")
	ts.Check(err)
	ts.Check(os.WriteFile(file, text, 0o644))
}

// set sets a value of a tree by its dotted key.
func set(tree map[string]any, key, value string) error {
	path := strings.Split(strings.TrimSuffix(key, "+"), ".")
	last := path[len(path)-1]
	for _, k := range path[:len(path)-1] {
		below, ok := tree[k].(map[string]any)
		if !ok {
			below = map[string]any{}
			tree[k] = below
		}
		tree = below
	}
	if value == "" {
		delete(tree, last)
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if strings.HasSuffix(key, "+") {
		list, _ := tree[last].([]any)
		v = append(list, v)
	}
	tree[last] = v
	return nil
}
