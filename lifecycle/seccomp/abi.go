package seccomp

import (
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// abi is a way to make system calls.
type abi struct {
	name    specs.Arch
	machine string // GOARCH of the kernels that have it
	native  bool   // it is the machine's own
	token   uint32 // AUDIT_ARCH_… in struct seccomp_data
	bits    int    // of an argument
	column  int    // in numbers
	offset  uint32 // added to every number
}

const (
	x86_64 = iota
	x86
	x32
	aarch64
	arm
	abiCount
)

// x32Bit is __X32_SYSCALL_BIT of <asm/unistd.h>: x32 shares the token of x86_64
// and differs by a bit of the number.
const x32Bit = 1 << 30

var abis = [abiCount]abi{
	{specs.ArchX86_64, "amd64", true, unix.AUDIT_ARCH_X86_64, 64, x86_64, 0},
	{specs.ArchX86, "amd64", false, unix.AUDIT_ARCH_I386, 32, x86, 0},
	{specs.ArchX32, "amd64", false, unix.AUDIT_ARCH_X86_64, 64, x32, x32Bit},
	{specs.ArchAARCH64, "arm64", true, unix.AUDIT_ARCH_AARCH64, 64, aarch64, 0},
	{specs.ArchARM, "arm64", false, unix.AUDIT_ARCH_ARM, 32, arm, 0},
}

// foreign are the specification's other architectures.
var foreign = []name[specs.Arch]{
	{name: specs.ArchMIPS},
	{name: specs.ArchMIPS64},
	{name: specs.ArchMIPS64N32},
	{name: specs.ArchMIPSEL},
	{name: specs.ArchMIPSEL64},
	{name: specs.ArchMIPSEL64N32},
	{name: specs.ArchPPC},
	{name: specs.ArchPPC64},
	{name: specs.ArchPPC64LE},
	{name: specs.ArchS390},
	{name: specs.ArchS390X},
	{name: specs.ArchPARISC},
	{name: specs.ArchPARISC64},
	{name: specs.ArchRISCV64},
	{name: specs.ArchLOONGARCH64},
	{name: specs.ArchM68K},
	{name: specs.ArchSH},
	{name: specs.ArchSHEB},
}

// chosen lists the ABIs that a configuration allows: the machine's own always.
func chosen(list []specs.Arch, machine string) ([]*abi, specs.Arch) {
	var out []*abi
	for i := range abis {
		a := &abis[i]
		if a.machine == machine && (a.native || slices.Contains(list, a.name)) {
			out = append(out, a)
		}
	}
	for _, word := range list {
		_, ok := valueOf(foreign, word)
		if !ok && !slices.ContainsFunc(abis[:], func(a abi) bool { return a.name == word }) {
			return nil, word
		}
	}
	return out, ""
}

// lookup finds a system call's name in the tables.
func lookup(word string) (int, bool) {
	lo, hi := 0, nameCount
	for lo < hi {
		mid := (lo + hi) / 2
		switch c := strings.Compare(nameAt(mid), word); {
		case c == 0:
			return mid, true
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return 0, false
}

func nameAt(n int) string {
	start := uint16(0)
	if n > 0 {
		start = nameEnd[n-1]
	}
	return nameText[start:nameEnd[n]]
}

// number is the call's number in the ABI.
func (a *abi) number(call int) (uint32, bool) {
	n := numbers[a.column][call]
	return n - 1 + a.offset, n != 0
}

// width is to how many bits the kernel cuts an argument of the call.
func (a *abi) width(call, arg int) int {
	table := &widths64
	if a.bits == 32 {
		table = &widths32
	}
	width := a.bits
	switch table[call] >> (2 * arg) & 3 {
	case 1:
		width = 32
	case 2:
		width = 16
	}
	if a.column == x32 && numbers[x32][call] != numbers[x86_64][call] {
		// These have an entry of their own, which takes 32-bit types
		// (arch/x86/entry/syscalls/syscall_64.tbl, compat_sys_…).
		width = min(width, 32)
	}
	return width
}

// multiplexed are the calls that x86 also has as a number for socketcall(2) or
// ipc(2): linux/net.h and linux/ipc.h. The upper half of ipc's number is a
// version.
var multiplexed = []struct {
	name, by string
	number   uint64
	mask     uint64
}{
	{"socket", "socketcall", 1, 1<<32 - 1},
	{"bind", "socketcall", 2, 1<<32 - 1},
	{"connect", "socketcall", 3, 1<<32 - 1},
	{"listen", "socketcall", 4, 1<<32 - 1},
	{"accept", "socketcall", 5, 1<<32 - 1},
	{"getsockname", "socketcall", 6, 1<<32 - 1},
	{"getpeername", "socketcall", 7, 1<<32 - 1},
	{"socketpair", "socketcall", 8, 1<<32 - 1},
	{"send", "socketcall", 9, 1<<32 - 1},
	{"recv", "socketcall", 10, 1<<32 - 1},
	{"sendto", "socketcall", 11, 1<<32 - 1},
	{"recvfrom", "socketcall", 12, 1<<32 - 1},
	{"shutdown", "socketcall", 13, 1<<32 - 1},
	{"setsockopt", "socketcall", 14, 1<<32 - 1},
	{"getsockopt", "socketcall", 15, 1<<32 - 1},
	{"sendmsg", "socketcall", 16, 1<<32 - 1},
	{"recvmsg", "socketcall", 17, 1<<32 - 1},
	{"accept4", "socketcall", 18, 1<<32 - 1},
	{"recvmmsg", "socketcall", 19, 1<<32 - 1},
	{"sendmmsg", "socketcall", 20, 1<<32 - 1},
	{"semop", "ipc", 1, 1<<16 - 1},
	{"semget", "ipc", 2, 1<<16 - 1},
	{"semctl", "ipc", 3, 1<<16 - 1},
	{"semtimedop", "ipc", 4, 1<<16 - 1},
	{"msgsnd", "ipc", 11, 1<<16 - 1},
	{"msgrcv", "ipc", 12, 1<<16 - 1},
	{"msgget", "ipc", 13, 1<<16 - 1},
	{"msgctl", "ipc", 14, 1<<16 - 1},
	{"shmat", "ipc", 21, 1<<16 - 1},
	{"shmdt", "ipc", 22, 1<<16 - 1},
	{"shmget", "ipc", 23, 1<<16 - 1},
	{"shmctl", "ipc", 24, 1<<16 - 1},
}
