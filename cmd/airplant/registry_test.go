package main_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"airplant/internal/testenv"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestRun tells what people do with images.
func TestRun(t *testing.T) {
	debian(t)
	tell(t, "run-*.txtar")
}

// TestRunOneID does the same with less: the account has one id.
func TestRunOneID(t *testing.T) {
	u := testenv.NoSubids(t)
	if u.Rerun(t) {
		return
	}
	tellAs(t, u, "plain-*.txtar")
}

// registry serves an empty registry on loopback until the story ends, and sets
// REGISTRY to its host and port.
func (s *story) registry(ts *testscript.TestScript, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	address := l.Addr().String()
	ts.Check(l.Close())
	config := filepath.Join(s.work, "registry.yml")
	ts.Check(os.WriteFile(config, []byte(fmt.Sprintf(
		"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s\nhttp:\n  addr: %s\n", filepath.Join(s.work, "registry"), address)), 0o600))
	cmd := exec.Command("docker-registry", "serve", config)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	for range 500 {
		if resp, err := http.Get("http://" + address + "/v2/"); err == nil {
			resp.Body.Close()
			ts.Setenv("REGISTRY", address)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("the registry does not answer")
}
