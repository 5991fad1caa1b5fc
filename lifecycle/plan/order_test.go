package plan_test

import (
	"slices"
	"strings"
	"testing"

	"airplant/internal/birth"
	"airplant/lifecycle"
	"airplant/lifecycle/plan"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// foreign is part of every path of the configuration that is resolved in the
// root filesystem.
const foreign = "foreign"

func foreignPaths(s *specs.Spec) {
	noTerminal(s)
	s.Process.Cwd = "/foreign/cwd"
	s.Linux.MaskedPaths = []string{"/proc/kcore", "/foreign/masked"}
	s.Linux.ReadonlyPaths = []string{"/foreign/readonly"}
	s.Mounts = append(s.Mounts,
		specs.Mount{Destination: "/foreign/tmpfs", Type: "tmpfs"},
		specs.Mount{Destination: "/foreign/proc", Type: "proc"},
		specs.Mount{Destination: "/foreign/bind/deep", Source: "/source", Type: "bind"})
}

func lines(t *testing.T, spec *specs.Spec, host *plan.Host, o plan.Options) []birth.Line {
	t.Helper()
	p, err := plan.New(spec, host, bundle(o))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Complete(); err != nil {
		t.Fatal(err)
	}
	return p.Lines()
}

// TestForeignPathsStayInRoot: until the host's root is gone, a path of the
// configuration or the image is only resolved by openat2 in the root
// filesystem, or is the one name that is made in a directory found so.
func TestForeignPathsStayInRoot(t *testing.T) {
	for _, spec := range []*specs.Spec{with(oneID(), foreignPaths), with(lifecycle.Example(), foreignPaths)} {
		found := 0
		for _, l := range lines(t, spec, root(), plan.Options{}) {
			if l.Call == "pivot_root" {
				break
			}
			path := quoted(l.Args)
			if !strings.Contains(path, foreign) && !strings.Contains(l.Label, foreign) || path == "" || path == "." {
				continue
			}
			found++
			switch l.Call {
			case "openat2":
				if !strings.Contains(l.Args[2], "RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS") || l.Args[0] == "AT_FDCWD" {
					t.Errorf("not in the root: %s", l)
				}
			case "mkdirat":
				if l.Args[0] == "AT_FDCWD" || strings.Contains(path, "/") {
					t.Errorf("not one name below a descriptor: %s", l)
				}
			case "fsopen", "fsconfig":
			case "open_tree":
				if path != "/source" && path != "/dev/null" && path != "/proc" {
					t.Errorf("a foreign path from the host's root: %s", l)
				}
			default:
				t.Errorf("not expected: %s", l)
			}
		}
		if found < 20 {
			t.Errorf("only %d instructions have foreign paths", found)
		}
	}
}

// quoted is the first argument that is a path.
func quoted(args []string) string {
	for _, a := range args {
		if s, ok := strings.CutPrefix(a, `"`); ok {
			return strings.TrimSuffix(s, `"`)
		}
	}
	return ""
}

// before sees that the first instruction of one label comes before all of the
// other.
func before(t *testing.T, list []birth.Line, first, then string) {
	t.Helper()
	at := func(label string) int {
		return slices.IndexFunc(list, func(l birth.Line) bool { return strings.HasPrefix(l.Label, label) })
	}
	a, b := at(first), at(then)
	if a < 0 || b < 0 || a >= b {
		t.Errorf("%q at %d, %q at %d", first, a, then, b)
	}
}

// TestOrder pins what security hangs on.
func TestOrder(t *testing.T) {
	list := lines(t, with(subids(false), rich), user(), plan.Options{DieWithParent: true, Wait: true})
	for _, c := range [][2]string{
		// Sysctls go through the host's /proc (CVE-2025-52881).
		{"set sysctl", "root filesystem"},
		// Descriptors of the host are gone before the working directory and
		// the command are looked up (CVE-2024-21626).
		{"drop the host's root", "close the descriptors of the setup"},
		{"close the descriptors of the setup", "go to the working directory"},
		{"close the descriptors of the setup", "find the command"},
		// The working directory is entered and the command found as the user.
		{"drop capability", "become user 33"},
		{"set the additional groups", "become group 34"},
		{"become group 34", "become user 33"},
		{"become user 33", "set capabilities"},
		{"set capabilities", "go to the working directory"},
		{"become user 33", "die with the parent"},
		{"set RLIMIT_NOFILE", "become user 33"},
		{"mask /proc/acpi", "pivot to the root filesystem"},
		{"make read-only /proc/bus", "pivot to the root filesystem"},
		// The container is known to others before anything of it runs.
		{"wait to be recorded", "say that the container is created"},
		{"say that the container is created", "wait for start"},
		{"wait for start", "execute"},
	} {
		before(t, list, c[0], c[1])
	}
	if last := list[len(list)-1]; last.Call != "execve" {
		t.Errorf("the last instruction is %s", last)
	}
}

// TestFilterOrder: nothing of ours runs under a filter.
func TestFilterOrder(t *testing.T) {
	for _, noNew := range []bool{false, true} {
		list := lines(t, with(oneID(), filtered(specs.ActErrno, noNew)), user(), plan.Options{Wait: true})
		if n := len(list); list[n-2].Call != "seccomp" || list[n-1].Call != "execve" {
			t.Errorf("the plan ends with %s and %s", list[n-2], list[n-1])
		}
		before(t, list, "share memory for a failure", "close the descriptors of the setup")
		before(t, list, "wait for start", "report a failure in memory")
		keeps := slices.ContainsFunc(list, func(l birth.Line) bool {
			return strings.HasPrefix(l.Label, "set capabilities, and keep CAP_SYS_ADMIN")
		})
		if keeps == noNew {
			t.Errorf("no_new_privs is %v, and CAP_SYS_ADMIN is kept: %v", noNew, keeps)
		}
	}
}

// TestLandlockOrder: rules are for what the container's root has, and hold
// before anything is looked up for the container's process.
func TestLandlockOrder(t *testing.T) {
	h := user()
	h.Landlock = 7
	list := lines(t, with(oneID(), landlocked), h, plan.Options{})
	for _, c := range [][2]string{
		{"drop the host's root", "landlock"},
		{"landlock", "close the descriptors of the setup"},
		{"landlock", "drop capability"},
	} {
		before(t, list, c[0], c[1])
	}
}

// TestLandlockOfOldKernels: what is not enforced is noted, or refused.
func TestLandlockOfOldKernels(t *testing.T) {
	rules := func(mode string) *specs.Spec {
		s := with(oneID(), landlocked)
		s.Annotations["org.airplant.landlock"] = `{"mode": "` + mode + `", "fs": [], "scope": ["signal"]}`
		return s
	}
	h := user()
	for version, want := range map[int]int{0: 2, 1: 3, 3: 2, 5: 1, 6: 0} {
		h.Landlock = version
		p, err := plan.New(rules("best-effort"), h, bundle(plan.Options{}))
		if err != nil || len(p.Notes()) != want {
			t.Errorf("version %d: %v, %v", version, p.Notes(), err)
		}
		if _, err := plan.New(rules("required"), h, bundle(plan.Options{})); (err == nil) != (want == 0) {
			t.Errorf("version %d, required: %v", version, err)
		}
	}
}

// TestJoiningOrder: before it enters a user namespace in which others live,
// the process cannot be traced (CVE-2016-9962), and does so not in our memory.
func TestJoiningOrder(t *testing.T) {
	list := lines(t, with(oneID(), joining("/run/ns", specs.UserNamespace, specs.NetworkNamespace)), user(), plan.Options{})
	before(t, list, "stay untraceable", "join the user namespace")
	before(t, list, "join the user namespace", "fork into")
	for _, l := range list {
		if l.Section == "prelude" && (l.Call == "setns" || l.Call == "setresuid" || l.Call == "prctl") {
			t.Errorf("in our memory: %s", l)
		}
	}
}
