package image

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"airplant/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// inWorker marks the run of a test as uid 0 of a user namespace.
const inWorker = "AIRPLANT_TEST_WORKER"

// rerunInWorker runs the calling test again as an account's root in a user
// namespace with all the account's ids, and reports true when it has done so.
func rerunInWorker(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inWorker) != "" {
		return false
	}
	if testenv.Subids(t).Rerun(t) {
		return true
	}
	testenv.Need(t, "unshare")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--user", "--mount", "--map-auto", "--map-root-user",
		exe, "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), inWorker+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("in the worker's namespace:\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()+" ") {
		t.Fatal("the test was not run in the namespace")
	}
	return true
}
