// Package seccomp compiles the seccomp section of an OCI configuration to a
// classic BPF program, without cgo and libseccomp.
//
//	linux.seccomp -> decisions, one for each call of each ABI -> ranges of
//	numbers with the same decision -> binary search -> struct sock_filter
//
// The kernel runs the program on every system call, so calls are found by
// binary search, about nine comparisons, and neighbours with the same decision
// are one range: a list of 300 allowed names becomes some 100 instructions.
//
// What is compared is what the kernel will act on. socket(2) takes an int, so
// the kernel drops the upper half of the register; a filter that looks at all
// 64 bits and refuses family 38 lets socket(38 | 1<<32) through (as happened to
// ioctl in CVE-2019-10063). The tables know to how many bits each argument is
// cut, and arguments are cut the same way before they are compared.
//
// Where a configuration leaves something open, it is decided as by libseccomp,
// which runc and crun use; docs/seccomp.md has the list, and the tests compare.
//
// Only ABIs of the machine's own kernel are compiled, amd64: x86_64, x86 and
// x32, arm64: aarch64 and arm. No process of that kernel can make a call by any
// other, so the others that the specification names have no effect.
//
// Known hazards: a filter cannot read memory, so what a pointer leads to (the
// arguments of socketcall(2), clone3(2), openat2(2)) cannot be compared, and
// io_uring(7) makes calls that no filter sees.
package seccomp

import (
	"errors"
	"fmt"
	"runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

//go:generate go run tables_gen.go

// Filter is a compiled configuration.
type Filter struct {
	// Program is an array of struct sock_filter.
	Program []byte
	// Flags are those of seccomp(2), without SECCOMP_FILTER_FLAG_NEW_LISTENER.
	Flags uint32
	// Notify: some calls are decided by a listener.
	Notify bool
}

// instructionSize is that of struct sock_filter.
const instructionSize = 8

// maxInstructions is BPF_MAXINSNS of linux/bpf_common.h.
const maxInstructions = 4096

// Len is the number of instructions.
func (f *Filter) Len() int { return len(f.Program) / instructionSize }

// ErrTooLong is returned for a configuration that needs more instructions than
// the kernel takes.
var ErrTooLong = errors.New("linux.seccomp: too many rules")

// Compile compiles a configuration for this machine.
func Compile(c *specs.LinuxSeccomp) (*Filter, error) { return compileFor(c, runtime.GOARCH) }

func compileFor(c *specs.LinuxSeccomp, machine string) (*Filter, error) {
	f := &Filter{}
	for _, name := range c.Flags {
		flag, ok := flagOf(name)
		if !ok {
			return nil, fmt.Errorf("linux.seccomp.flags: unknown flag %q", name)
		}
		f.Flags |= flag
	}
	p, err := read(c, machine)
	if err != nil {
		return nil, fmt.Errorf("linux.seccomp.%w", err)
	}
	f.Notify = p.notify
	if !f.Notify {
		// It says how the caller waits for the listener's answer.
		f.Flags &^= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	}
	if f.Notify && c.ListenerPath == "" {
		return nil, errors.New("linux.seccomp.listenerPath is empty, and SCMP_ACT_NOTIFY needs a listener")
	}
	if c.ListenerMetadata != "" && c.ListenerPath == "" {
		return nil, errors.New("linux.seccomp.listenerMetadata is set without listenerPath")
	}
	code := p.assemble()
	if len(code) > maxInstructions {
		return nil, fmt.Errorf("%w: they need %d instructions, and the kernel takes %d (seccomp(2))", ErrTooLong, len(code), maxInstructions)
	}
	f.Program = encode(code)
	return f, nil
}

// name is a word of the specification and what the kernel has for it.
type name[K ~string] struct {
	name  K
	value uint32
}

var flags = []name[specs.LinuxSeccompFlag]{
	{"SECCOMP_FILTER_FLAG_TSYNC", unix.SECCOMP_FILTER_FLAG_TSYNC},
	{specs.LinuxSeccompFlagLog, unix.SECCOMP_FILTER_FLAG_LOG},
	{specs.LinuxSeccompFlagSpecAllow, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	{specs.LinuxSeccompFlagWaitKillableRecv, unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
}

var actions = []name[specs.LinuxSeccompAction]{
	{specs.ActKill, unix.SECCOMP_RET_KILL_THREAD},
	{specs.ActKillThread, unix.SECCOMP_RET_KILL_THREAD},
	{specs.ActKillProcess, unix.SECCOMP_RET_KILL_PROCESS},
	{specs.ActTrap, unix.SECCOMP_RET_TRAP},
	{specs.ActErrno, unix.SECCOMP_RET_ERRNO},
	{specs.ActNotify, unix.SECCOMP_RET_USER_NOTIF},
	{specs.ActTrace, unix.SECCOMP_RET_TRACE},
	{specs.ActLog, unix.SECCOMP_RET_LOG},
	{specs.ActAllow, unix.SECCOMP_RET_ALLOW},
}

var operators = []name[specs.LinuxSeccompOperator]{
	{specs.OpNotEqual, opNE},
	{specs.OpLessThan, opLT},
	{specs.OpLessEqual, opLE},
	{specs.OpEqualTo, opEQ},
	{specs.OpGreaterEqual, opGE},
	{specs.OpGreaterThan, opGT},
	{specs.OpMaskedEqual, opMaskedEQ},
}

func valueOf[K ~string](list []name[K], word K) (uint32, bool) {
	for i := range list {
		if list[i].name == word {
			return list[i].value, true
		}
	}
	return 0, false
}

func words[K ~string](list []name[K]) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = string(list[i].name)
	}
	return out
}

func flagOf(word specs.LinuxSeccompFlag) (uint32, bool) { return valueOf(flags, word) }

// Actions are those that [Compile] knows, in the words of the specification.
func Actions() []string { return words(actions) }

// Operators are the comparisons of arguments.
func Operators() []string { return words(operators) }

// Flags are those of seccomp(2).
func Flags() []string { return words(flags) }

// Architectures are all that are accepted; see the package's doc for which have
// an effect.
func Architectures() []string {
	list := words(foreign)
	for i := range abis {
		list = append(list, string(abis[i].name))
	}
	return list
}

// action reads an action with its errno, which only some actions have.
func action(word specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	value, ok := valueOf(actions, word)
	if !ok {
		return 0, fmt.Errorf("unknown action %q", word)
	}
	switch value {
	case unix.SECCOMP_RET_ERRNO, unix.SECCOMP_RET_TRACE:
		data := uint(unix.EPERM)
		if errno != nil {
			data = *errno
		}
		if data > unix.SECCOMP_RET_DATA {
			return 0, fmt.Errorf("errno %d is larger than %d", data, unix.SECCOMP_RET_DATA)
		}
		return value | uint32(data), nil
	}
	if errno != nil {
		return 0, fmt.Errorf("%s does not take an errno", word)
	}
	return value, nil
}
