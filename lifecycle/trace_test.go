package lifecycle_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"airplant/internal/birth"
	"airplant/internal/testenv"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// call is a line of strace: name(…) = result [ERRNO …].
var call = regexp.MustCompile(`^(\w+)\((.*)\) += (\?|-?\w+)(?: (E[A-Z0-9]+))?`)

// TestTrace watches containers being made: the process makes the system calls
// of its plan, from its first instruction on, and no others.
func TestTrace(t *testing.T) {
	for name, c := range map[string]func(*testing.T) *caller{"one id": oneID, "subids": subidsTraced} {
		t.Run(name, func(t *testing.T) {
			b := c(t).bundle(t, "true")
			follow(t, explain(b), b.trace(nil, "run", "--bundle", b.dir, "c"), 0)
		})
	}
}

// subidsTraced needs root: below the tracer of a normal user newuidmap is not
// setuid.
func subidsTraced(t *testing.T) *caller {
	testenv.Root(t)
	return subids(t)
}

// TestTraceCreate also has the start of the container.
func TestTraceCreate(t *testing.T) {
	b := oneID(t).bundle(t, "true")
	b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	plan := explain(b, "--create")
	follow(t, plan, b.trace(func() {
		b.await("created", func() bool { return do(t, b.oci("start", "c")).status == 0 })
	}, "create", "--bundle", b.dir, "c"), 0)
	b.must("delete", "c")
}

// TestTraceJoin has the process that joins namespaces and the one that it
// forks into them.
func TestTraceJoin(t *testing.T) {
	c := subidsTraced(t)
	first := c.bundle(t, "sleep", "1000")
	first.save()
	first.must("run", "-d", "--bundle", first.dir, "c")
	defer first.must("delete", "-f", "c")
	b := c.bundle(t, "true")
	b.join(first.status().Pid, "user", "network", "ipc", "pid")
	follow(t, explain(b), b.trace(nil, "run", "--bundle", b.dir, "c"), 0)
}

// TestTraceFailure: after an instruction that fails come the report and the
// end, and nothing else.
func TestTraceFailure(t *testing.T) {
	b := oneID(t).bundle(t, "true")
	b.spec.Mounts = append(b.spec.Mounts, specs.Mount{Destination: "/x", Source: "/no/such", Type: "bind"})
	follow(t, explain(b), b.trace(nil, "run", "--bundle", b.dir, "c"), 1)
	b.nothingLeft()
}

// explain is the plan of the bundle.
func explain(b *box, flags ...string) []birth.Line {
	b.t.Helper()
	b.save()
	args := append([]string{"explain", "--json", "--bundle", b.dir}, flags...)
	r := do(b.t, b.who.command(b.t, testenv.Binary(b.t), args...))
	var plan struct{ Program []birth.Line }
	if err := json.Unmarshal([]byte(r.out), &plan); err != nil || len(plan.Program) == 0 {
		b.t.Fatalf("%v: %+v", err, r)
	}
	return plan.Program
}

// trace runs a verb and gives the system calls of the processes that are made
// by a plan, in the order of their pids. Meanwhile something else is done.
func (b *box) trace(meanwhile func(), args ...string) [][]string {
	b.t.Helper()
	testenv.Need(b.t, "strace")
	cmd := b.oci(args...)
	dir := b.t.TempDir()
	strace := []string{"-ff", "-s", "100000", "-o", filepath.Join(dir, "trace")}
	if u := b.who.user; u.UID != os.Geteuid() {
		// The tracer stays root, so that newuidmap stays setuid.
		strace = append(strace, "-u", u.Name)
		cmd.SysProcAttr = nil
	}
	line := append(append(strace, cmd.Path), cmd.Args[1:]...)
	path, err := exec.LookPath("strace")
	b.check(err)
	cmd.Path, cmd.Args = path, append([]string{"strace"}, line...)
	b.check(os.Chmod(dir, 0o700))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	b.check(cmd.Start())
	if meanwhile != nil {
		meanwhile()
	}
	if err := cmd.Wait(); strings.Contains(stderr.String(), "strace:") {
		b.t.Fatalf("%v: %s", err, &stderr)
	}
	files, err := filepath.Glob(filepath.Join(dir, "trace.*"))
	b.check(err)
	var traces [][]string
	for _, f := range files {
		text, err := os.ReadFile(f)
		b.check(err)
		// One is born in our program, the other by the plan itself.
		if strings.Contains(string(text), "\nexecveat(") || strings.Contains(string(text), `, ["true"], `) {
			traces = append(traces, lines(string(text)))
		}
	}
	return traces
}

// follow walks through the plan along the traces.
func follow(t *testing.T, plan []birth.Line, traces [][]string, status int) {
	t.Helper()
	starts := []map[int]bool{{0: true}}
	for _, l := range plan {
		if l.Call == "clone3" {
			starts = append(starts, after(l, "0", ""))
		}
	}
	if len(traces) != len(starts) {
		t.Fatalf("%d processes were made by the plan, want %d", len(traces), len(starts))
	}
	for n, trace := range traces {
		followOne(t, plan, starts[n], trace, status)
	}
}

// followOne walks along one trace. There may be more than one way, because what
// a jump by a value depends on is not in the trace.
func followOne(t *testing.T, plan []birth.Line, at map[int]bool, trace []string, status int) {
	t.Helper()
	at = reach(plan, at)
	for n, text := range trace {
		m := call.FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("line %d of the trace: %s", n+1, text)
		}
		next := map[int]bool{}
		for i := range at {
			if plan[i].Call == m[1] && holds(plan[i], m[2]) {
				for to := range after(plan[i], m[3], m[4]) {
					next[to] = true
				}
			}
		}
		switch {
		case len(next) == 0:
			t.Fatalf("line %d of the trace is not in the plan at %v: %s", n+1, at, text)
		case next[failed]:
			end(t, trace[n+1:], status)
			return
		case (m[1] == "execve" || m[1] == "exit_group") && status == 0:
			return
		}
		at = reach(plan, next)
	}
	t.Errorf("the trace ends before the plan: %q", trace[len(trace)-1])
}

// failed is where an instruction leads that fails.
const failed = -1

// end is what follows a failure: the report, and the end, if the parent does
// not come first and kill.
func end(t *testing.T, rest []string, status int) {
	t.Helper()
	want := fmt.Sprintf(`^write\(3, ".*", 8\) += 8\n(exit_group\(%d\) .*\n)?\+\+\+ (exited with %d|killed by SIGKILL) \+\+\+$`, status, status)
	if got := strings.Join(rest, "\n"); status == 0 || !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("after the failure: %s", got)
	}
}

// holds sees that the strings of the plan are in the call.
func holds(l birth.Line, args string) bool {
	for _, a := range l.Args {
		if strings.HasPrefix(a, `"`) && !strings.Contains(args, a) {
			return false
		}
	}
	return true
}

// after says where an instruction with the result leads.
func after(l birth.Line, result, errno string) map[int]bool {
	for _, on := range l.On {
		when, to, found := strings.Cut(on, ": ")
		if !found {
			when, to = "always", on
		}
		if when == "always" || when == errno || errno == "" && (when == "success" || when == result) || errno != "" && when == "any error" {
			if n, err := strconv.Atoi(strings.TrimPrefix(to, "to ")); err == nil {
				return map[int]bool{n: true}
			}
			return map[int]bool{l.Index + 1: true}
		}
	}
	if errno != "" {
		return map[int]bool{failed: true}
	}
	return map[int]bool{l.Index + 1: true}
}

// reach adds what instructions lead to that make no call.
func reach(plan []birth.Line, at map[int]bool) map[int]bool {
	calls, todo, seen := map[int]bool{}, at, map[int]bool{}
	for len(todo) > 0 {
		more := map[int]bool{}
		for i := range todo {
			if seen[i] || i >= len(plan) {
				continue
			}
			seen[i] = true
			if plan[i].Call != "value" {
				calls[i] = true
				continue
			}
			more[i+1] = true
			for _, on := range plan[i].On {
				if _, to, ok := strings.Cut(on, "to "); ok {
					if n, err := strconv.Atoi(to); err == nil {
						more[n] = true
					}
				}
			}
		}
		todo = more
	}
	return calls
}
