// Command probe makes system calls by number and prints what each gave:
//
//	probe [i386] NUMBER ARGUMENT... [-- ...]
//
// A call that succeeds prints "ok", else its errno.
package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// i386 makes a call by the gate of 32-bit programs.
func i386(number, a0, a1, a2 uintptr) int32

func main() {
	var call []string
	for _, arg := range append(os.Args[1:], "--") {
		if arg != "--" {
			call = append(call, arg)
			continue
		}
		fmt.Println(make32or64(call))
		call = nil
	}
}

func make32or64(call []string) string {
	old := call[0] == "i386"
	if old {
		call = call[1:]
	}
	var n [7]uintptr
	for i, text := range call {
		v, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			return err.Error()
		}
		n[i] = uintptr(v)
	}
	var errno syscall.Errno
	if old {
		if r := i386(n[0], n[1], n[2], n[3]); r < 0 && r > -4096 {
			errno = syscall.Errno(-r)
		}
	} else {
		_, _, errno = syscall.RawSyscall6(n[0], n[1], n[2], n[3], n[4], n[5], n[6])
	}
	if errno == 0 {
		return "ok"
	}
	return strconv.Itoa(int(errno))
}
