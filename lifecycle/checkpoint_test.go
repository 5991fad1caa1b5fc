package lifecycle_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCheckpointRefused: without the host's root it is refused, in words, and the
// container runs on.
func TestCheckpointRefused(t *testing.T) {
	for name, c := range map[string]*caller{"one id": oneID(t), "foreign root": foreignRoot(t)} {
		b := c.bundle(t, "sleep", "100")
		b.save()
		b.must("run", "-d", "--bundle", b.dir, "c")
		images := filepath.Join(b.dir, "images")
		r := do(t, b.oci("checkpoint", "--image-path", images, "c"))
		if r.status != 1 || !strings.Contains(r.err, "CRIU works for root of the host alone") {
			t.Errorf("%s: checkpoint: %+v", name, r)
		}
		r = do(t, b.oci("restore", "--image-path", images, "--bundle", b.dir, "d"))
		if r.status != 1 || !strings.Contains(r.err, "CRIU works for root of the host alone") {
			t.Errorf("%s: restore: %+v", name, r)
		}
		if _, err := os.Stat(images); err == nil || b.status().Status != "running" {
			t.Errorf("%s: %v, %v", name, err, b.status().Status)
		}
		b.must("delete", "-f", "c")
		b.nothingLeft()
	}
}

// TestCheckpoint lets CRIU write a container and make it again. Where CRIU does
// not work with this kernel, or is not there, the error says so and nothing has
// changed.
func TestCheckpoint(t *testing.T) {
	b := hostRoot(t).bundle(t, "sleep", "100")
	b.save()
	b.must("run", "-d", "--bundle", b.dir, "c")
	b.must("exec", "c", "sh", "-c", "echo 42 >/dev/shm/n")
	program := criu(t)
	if program == "" {
		r := do(t, b.oci("checkpoint", "--image-path", filepath.Join(b.dir, "images"), "c"))
		if r.status != 1 || !strings.Contains(r.err, "CRIU") || b.status().Status != "running" {
			t.Errorf("%+v, %s", r, b.status().Status)
		}
		b.must("delete", "-f", "c")
		b.nothingLeft()
		return
	}
	images := filepath.Join(b.dir, "images")
	b.must("--criu", program, "checkpoint", "--leave-running", "--image-path", images, "c")
	if s := b.status().Status; s != "running" {
		t.Fatalf("with --leave-running it is %s", s)
	}
	b.must("--criu", program, "checkpoint", "--image-path", images, "c")
	b.nothingLeft()
	b.must("--criu", program, "restore", "-d", "--bundle", b.dir, "--image-path", images, "c")
	if got := b.must("exec", "c", "cat", "/dev/shm/n"); got != "42\n" {
		t.Errorf("after restore: %q", got)
	}
	b.must("delete", "-f", "c")
	b.nothingLeft()
}

// criu is a CRIU that can dump a process here, or "". It may wait for ever where
// the machine has no hardware breakpoints, so it gets fault 130 of its own tests,
// which does without them.
func criu(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("criu")
	if given := os.Getenv("AIRPLANT_TEST_CRIU"); given != "" {
		path, err = given, nil
	}
	if err != nil {
		t.Logf("no CRIU: %v", err)
		return ""
	}
	program := filepath.Join(t.TempDir(), "criu")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nCRIU_FAULT=130 exec "+path+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "check")
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Logf("CRIU does not work here: %v: %s", err, out)
		return ""
	}
	return program
}
