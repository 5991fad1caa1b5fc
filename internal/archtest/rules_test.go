package archtest

import (
	"strings"
	"testing"
)

func TestDirections(t *testing.T) {
	for _, test := range []struct{ from, to, complaint string }{
		{"airplant/cmd/airplant", "airplant/lifecycle", ""},
		{"airplant/cmd/airplant", "airplant/internal/sys", ""},
		{"airplant/lifecycle", "airplant/lifecycle/plan", ""},
		{"airplant/lifecycle/plan", "airplant/internal/birth", ""},
		{"airplant/lifecycle", "airplant/image", ""},
		{"airplant/image", "os", ""},
		{"airplant/internal/birth", "airplant/internal/sys", ""},
		{"airplant/internal/bench", "airplant/internal/testenv", ""},
		{"airplant/image", "airplant/lifecycle", "down"},
		{"airplant/image/layer", "airplant/lifecycle/plan", "down"},
		{"airplant/image", "airplant/fsfuse", "down"},
		{"airplant/internal/sys", "airplant/internal/birth", "down"},
		{"airplant/userns", "airplant/cmd/airplant", "down"},
		{"airplant/userns", "airplant/internal/testenv", "for tests"},
		{"airplant/imagery", "os", "no layer"},
		{"airplant", "os", "no layer"},
	} {
		got := strings.Join(Directions([]Package{{test.from, []string{test.to}}}), "\n")
		if !agrees(got, test.complaint) {
			t.Errorf("%s imports %s: %q", test.from, test.to, got)
		}
	}
}

func TestOwners(t *testing.T) {
	const stack = "gvisor.dev/gvisor/pkg/tcpip/stack"
	for from, complaint := range map[string]string{
		"airplant/netns/slirp":      "",
		"airplant/netns/slirp/link": "",
		"airplant/netns":            "only netns/slirp",
		"airplant/netns/slirps":     "only netns/slirp",
	} {
		got := strings.Join(Owners([]Package{{from, []string{"os", stack}}}), "\n")
		if !agrees(got, complaint) {
			t.Errorf("%s: %q", from, got)
		}
	}
}

func TestLinked(t *testing.T) {
	for dep, complaint := range map[string]string{
		"os":                                "",
		"github.com/awsome":                 "",
		"airplant/internal/sys":             "",
		"github.com/aws/aws-sdk-go":         "contains",
		"google.golang.org/protobuf/proto":  "contains",
		"airplant/internal/testenv":         "contains",
		"testing":                           "contains",
		"github.com/containers/image/v5/op": "contains",
	} {
		got := strings.Join(Linked([]string{dep}), "\n")
		if !agrees(got, complaint) {
			t.Errorf("%s: %q", dep, got)
		}
	}
}

func TestSmall(t *testing.T) {
	got := Small([]string{"os", "regexp/syntax", "goat", "net", "net/http/httptrace"})
	if want := "the small program contains regexp/syntax\nthe small program contains net/http/httptrace"; strings.Join(got, "\n") != want {
		t.Errorf("%q", got)
	}
}

func TestFile(t *testing.T) {
	for _, test := range []struct{ name, text, complaint string }{
		{"internal/sys/a_unsafe.go", `import "unsafe"`, ""},
		{"internal/birth/a_unsafe_test.go", `import "unsafe"`, ""},
		{"internal/sys/a.go", `import _ "unsafe"`, "not named"},
		{"image/a_unsafe.go", `import "unsafe"`, "belongs to"},
		{"a/a.go", `func init() {}`, "func init"},
		{"a/a.go", `type t int; func (t) init() {}`, ""},
		{"a/a.go", `var _ = unix.RawSyscall6(unix.SYS_READ, 1)`, ""},
		{"a/a.go", `var _ = unix.RawSyscall6(435, 1)`, "by hand"},
		{"a/a.go", `var _ = syscall.Syscall(uintptr(0x3c), 1)`, "by hand"},
		{"a/a.go", `const Read = Call(unix.SYS_READ)`, ""},
		{"a/a.go", `const Read = Call(0)`, "by hand"},
		{"a/a.go", `const sysRead = 0`, "by hand"},
		{"a/a.go", `const sysRead, sysWrite = unix.SYS_READ, (1)`, "by hand"},
		{"internal/nofile/a.go", `const sysRead = 0`, ""},
		{"a/a.go", `const system = 1`, ""},
		{"a/a.go", `var _ = instr{nr: 59}`, "by hand"},
		{"a/a.go", `var _ = instr{nr: unix.SYS_EXECVE, n: 5}`, ""},
		{"a/a.s", "\tMOVL $const_sysWrite, AX\n\tSYSCALL\n", ""},
		{"a/a.s", "\tMOVL $60, AX\n\tXORL DI, DI\n\tSYSCALL // exit\n", "a/a.s:3: "},
		{"a/a.s", "\tMOVD $0x5d, R8\n\tSVC\n", "by hand"},
		{"a/a.s", "\tMOVL $1, AX\n\tMOVL nr(SI), AX\n\tSYSCALL\n", ""},
	} {
		text := test.text
		if strings.HasSuffix(test.name, ".go") {
			text = "package a\n" + text
		}
		got, err := File(test.name, []byte(text))
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
		}
		if joined := strings.Join(got, "\n"); !agrees(joined, test.complaint) {
			t.Errorf("%s: %s: %q, want %q", test.name, test.text, joined, test.complaint)
		}
	}
	if _, err := File("a/a.go", []byte("nonsense")); err == nil {
		t.Error("nonsense has no error")
	}
}

// agrees tells whether a complaint is of the wanted kind, or absent if none
// is wanted.
func agrees(got, want string) bool {
	if want == "" {
		return got == ""
	}
	return strings.Contains(got, want)
}
