//go:build ignore

// Command tables_gen writes tables.go from golang.org/x/sys/unix, which has the
// system call numbers of every machine, and facts.txt, which has what it lacks.
//
//	go run tables_gen.go                  facts.txt + x/sys -> tables.go
//	go run tables_gen.go -facts TRACEFS   kernel + headers  -> facts.txt
//
// The second needs a kernel with CONFIG_FTRACE_SYSCALLS, whose tracefs tells the
// type of every argument, and the headers of package linux-libc-dev on amd64 for
// the x32 numbers.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	factsFile = "facts.txt"
	x32Header = "/usr/include/x86_64-linux-gnu/asm/unistd_x32.h"
)

// arches is the order of the columns; x/sys has a file for each but x32.
var arches = []string{"amd64", "386", "x32", "arm64", "arm"}

// only64 are newer than the x32 header we read, and not in x32
// (arch/x86/entry/syscalls/syscall_64.tbl).
var only64 = map[string]bool{"map_shadow_stack": true, "uretprobe": true, "uprobe": true}

// renamed are calls that the kernel defines by another name.
var renamed = map[string]string{
	"newstat": "stat", "newlstat": "lstat", "newfstat": "fstat", "newuname": "uname", "umount": "umount2",
	"sendfile64": "sendfile",
}

func main() {
	log.SetFlags(0)
	trace := flag.String("facts", "", "write facts.txt from a mounted tracefs")
	flag.Parse()
	if *trace != "" {
		writeFacts(*trace)
		return
	}
	writeTables()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// narrow gives the bits of C types that the kernel cuts arguments to; all
// others take 64.
var narrow = map[string]int{
	"int": 32, "unsigned int": 32, "unsigned": 32, "u32": 32, "__u32": 32, "const __u32": 32, "__s32": 32, "s32": 32, "uint32_t": 32,
	"pid_t": 32, "uid_t": 32, "gid_t": 32, "qid_t": 32, "clockid_t": 32, "const clockid_t": 32, "timer_t": 32, "mqd_t": 32, "key_t": 32,
	"key_serial_t": 32, "rwf_t": 32, "umode_t": 16, "old_uid_t": 16, "old_gid_t": 16,
}

var field = regexp.MustCompile(`field:(.*?)\s*\b(\w+);\s+offset:(\d+);`)

func writeFacts(trace string) {
	var b bytes.Buffer
	fmt.Fprintln(&b, "# Facts of the kernel's system call ABIs that golang.org/x/sys lacks, written by")
	fmt.Fprintln(&b, "# tables_gen.go; what follows \"by hand\" is kept.")
	fmt.Fprintln(&b, "# bits NAME WIDTH...: to how many bits a 64-bit kernel cuts each argument.")
	fmt.Fprintln(&b, "# number ABI NAME NUMBER, absent ABI NAME, top ABI NUMBER: see there.")
	dirs, err := filepath.Glob(filepath.Join(trace, "events/syscalls/sys_enter_*"))
	check(err)
	for _, dir := range dirs {
		text, err := os.ReadFile(filepath.Join(dir, "format"))
		check(err)
		name := strings.TrimPrefix(filepath.Base(dir), "sys_enter_")
		if n := renamed[name]; n != "" {
			name = n
		}
		line, cut := "bits "+name, false
		for _, m := range field.FindAllStringSubmatch(string(text), -1) {
			if at, _ := strconv.Atoi(m[3]); at < 16 {
				continue // common fields and the number
			}
			bits := narrow[m[1]]
			if strings.HasPrefix(m[1], "enum ") {
				bits = 32
			}
			if bits == 0 {
				bits = 64
			}
			cut = cut || bits < 64
			line += " " + strconv.Itoa(bits)
		}
		if cut {
			fmt.Fprintln(&b, line)
		}
	}
	amd64 := numbersOf("amd64")
	x32, top := x32Numbers()
	fmt.Fprintln(&b, "top x32", top)
	for _, name := range slices.Sorted(maps.Keys(amd64)) {
		n, ok := x32[name]
		switch {
		case ok && n != amd64[name]:
			fmt.Fprintln(&b, "number x32", name, n)
		case !ok && (amd64[name] <= top || only64[name]):
			fmt.Fprintln(&b, "absent x32", name)
		}
	}
	byHand := "# by hand\n"
	if old, err := os.ReadFile(factsFile); err == nil {
		_, rest, _ := strings.Cut(string(old), byHand)
		byHand += rest
	}
	b.WriteString(byHand)
	check(os.WriteFile(factsFile, b.Bytes(), 0o644))
}

var definition = regexp.MustCompile(`(?m)^#define __NR_(\w+) \(__X32_SYSCALL_BIT \+ (\d+)\)`)

// x32Numbers reads the header; top is the highest common number in it.
func x32Numbers() (numbers map[string]int, top int) {
	text, err := os.ReadFile(x32Header)
	check(err)
	numbers = map[string]int{}
	for _, m := range definition.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(m[2])
		check(err)
		numbers[m[1]] = n
		if n < 512 {
			top = max(top, n)
		}
	}
	return numbers, top
}

var constant = regexp.MustCompile(`(?m)^\tSYS_(\w+)\s+= (\d+)`)

func numbersOf(arch string) map[string]int {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	check(err)
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "unix", "zsysnum_linux_"+arch+".go"))
	check(err)
	numbers := map[string]int{}
	for _, m := range constant.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(m[2])
		check(err)
		if name := strings.ToLower(m[1]); !slices.Contains([]string{"syscall_mask", "syscall", "arch_specific_syscall"}, name) {
			numbers[name] = n
		}
	}
	return numbers
}

type facts struct {
	bits   map[string][]int          // of 64-bit ABIs
	bits32 map[string][]int          // of 32-bit ABIs
	number map[string]map[string]int // ABI, name
	absent map[string]map[string]bool
}

func readFacts() facts {
	f := facts{bits: map[string][]int{}, bits32: map[string][]int{}, number: map[string]map[string]int{}, absent: map[string]map[string]bool{}}
	file, err := os.Open(factsFile)
	check(err)
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		w := strings.Fields(s.Text())
		if len(w) == 0 || w[0][0] == '#' || w[0] == "top" {
			continue
		}
		switch w[0] {
		case "bits", "bits32":
			var list []int
			for _, b := range w[2:] {
				n, err := strconv.Atoi(b)
				check(err)
				list = append(list, n)
			}
			if w[0] == "bits" {
				f.bits[w[1]] = list
			} else {
				f.bits32[w[1]] = list
			}
		case "number":
			n, err := strconv.Atoi(w[3])
			check(err)
			if f.number[w[1]] == nil {
				f.number[w[1]] = map[string]int{}
			}
			f.number[w[1]][w[2]] = n
		case "absent":
			if f.absent[w[1]] == nil {
				f.absent[w[1]] = map[string]bool{}
			}
			f.absent[w[1]][w[2]] = true
		default:
			log.Fatalf("%s: %q", factsFile, s.Text())
		}
	}
	return f
}

func writeTables() {
	f := readFacts()
	all := map[string]map[string]int{}
	known := map[string]bool{}
	for _, arch := range arches {
		from := arch
		if arch == "x32" {
			from = "amd64"
		}
		numbers := numbersOf(from)
		maps.DeleteFunc(numbers, func(name string, _ int) bool { return f.absent[arch][name] })
		maps.Copy(numbers, f.number[arch])
		all[arch] = numbers
		for name := range numbers {
			known[name] = true
		}
	}
	names := slices.Sorted(maps.Keys(known))
	var b bytes.Buffer
	fmt.Fprint(&b, "// Code generated by tables_gen.go; DO NOT EDIT.\n\npackage seccomp\n\n")
	fmt.Fprintf(&b, "const nameCount = %d\n\n", len(names))
	fmt.Fprint(&b, "// nameText has all names, sorted, one after the other.\nconst nameText = \"\" +\n")
	for chunk := range slices.Chunk(names, 12) {
		fmt.Fprintf(&b, "\t%q +\n", strings.Join(chunk, ""))
	}
	fmt.Fprint(&b, "\t\"\"\n\n// nameEnd is where each name ends in nameText.\nvar nameEnd = [nameCount]uint16{")
	end := 0
	for i, name := range names {
		end += len(name)
		item(&b, i, end)
	}
	fmt.Fprint(&b, "}\n\n// numbers are one above the system call numbers, 0 for none.\nvar numbers = [abiCount][nameCount]uint32{\n")
	for _, arch := range arches {
		fmt.Fprintf(&b, "{ // %s", arch)
		for i, name := range names {
			n, ok := all[arch][name]
			if !ok {
				n = -1
			}
			item(&b, i, n+1)
		}
		fmt.Fprint(&b, "},\n")
	}
	fmt.Fprint(&b, "}\n\n")
	widths(&b, "widths64", "how 64-bit kernels cut arguments, two bits for each", names, f.bits)
	widths(&b, "widths32", "the same for 32-bit ABIs, whose arguments have 32 bits at most", names, f.bits32)
	text, err := format.Source(b.Bytes())
	check(err)
	check(os.WriteFile("tables.go", text, 0o644))
}

func item(b *bytes.Buffer, i, v int) {
	if i%16 == 0 {
		b.WriteString("\n")
	}
	fmt.Fprintf(b, "%d,", v)
}

func widths(b *bytes.Buffer, name, what string, names []string, bits map[string][]int) {
	fmt.Fprintf(b, "// %s is %s.\nvar %s = [nameCount]uint16{", name, what, name)
	for i, n := range names {
		v := 0
		for arg, w := range bits[n] {
			v |= map[int]int{64: 0, 32: 1, 16: 2}[w] << (2 * arg)
		}
		item(b, i, v)
	}
	fmt.Fprint(b, "}\n\n")
}
