package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// unsafeTrees are where files with unsafe may be.
var unsafeTrees = []string{"internal/birth", "internal/sys"}

// handWritten is the exception to byHand: internal/nofile has to be initialised
// before package syscall, so it cannot import it. Its test compares the number
// with package unix.
const handWritten = "internal/nofile"

// File complains about a Go or assembly file of the module, named by its path
// from the root.
func File(name string, text []byte) ([]string, error) {
	if strings.HasSuffix(name, ".s") {
		return assembly(name, text), nil
	}
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	s := source{name: name, fset: fset}
	s.imports(file)
	s.inits(file)
	if path.Dir(name) != handWritten {
		ast.Inspect(file, s.numbers)
	}
	return s.complaints, nil
}

// source collects complaints about a file.
type source struct {
	name       string
	fset       *token.FileSet
	complaints []string
}

func (s *source) complain(at ast.Node, what string) {
	s.complaints = append(s.complaints, fmt.Sprintf("%s: %s", s.fset.Position(at.Pos()), what))
}

// imports complains about unsafe.
func (s *source) imports(file *ast.File) {
	dir := path.Dir(s.name)
	for _, spec := range file.Imports {
		if spec.Path.Value != `"unsafe"` {
			continue
		}
		if !slices.ContainsFunc(unsafeTrees, func(tree string) bool { return within(dir, tree) }) {
			s.complain(spec, "unsafe belongs to "+strings.Join(unsafeTrees, ", "))
		}
		stem := strings.TrimSuffix(strings.TrimSuffix(s.name, ".go"), "_test")
		if !strings.HasSuffix(stem, "_unsafe") {
			s.complain(spec, "unsafe in a file that is not named *_unsafe.go")
		}
	}
}

// inits complains about init functions.
func (s *source) inits(file *ast.File) {
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			s.complain(f, "func init: every command pays for it")
		}
	}
}

// takesNumber matches functions whose first argument is a system call number,
// and our own type for such numbers.
var takesNumber = regexp.MustCompile(`^((All)?(Threads)?(Raw)?(Vfork)?Syscall(6|9|N|NoError)?|Call)$`)

// isNumber matches names of constants and fields for system call numbers.
var isNumber = regexp.MustCompile(`^(SYS_|__NR_|sys[A-Z]|NR$|nr$|sysno$)`)

const byHand = "a system call number written by hand: unix.SYS_ has it for every architecture"

// numbers complains about integer literals where system call numbers go.
func (s *source) numbers(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CallExpr:
		if takesNumber.MatchString(lastName(n.Fun)) && len(n.Args) > 0 && isInt(n.Args[0]) {
			s.complain(n, byHand)
		}
	case *ast.ValueSpec:
		for i, name := range n.Names {
			if i < len(n.Values) && isNumber.MatchString(name.Name) && isInt(n.Values[i]) {
				s.complain(name, byHand)
			}
		}
	case *ast.KeyValueExpr:
		if isNumber.MatchString(lastName(n.Key)) && isInt(n.Value) {
			s.complain(n, byHand)
		}
	}
	return true
}

// lastName is f for f and for x.f.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// isInt tells whether e is an integer literal, possibly converted.
func isInt(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return e.Kind == token.INT
	case *ast.ParenExpr:
		return isInt(e.X)
	case *ast.CallExpr:
		return len(e.Args) == 1 && isInt(e.Args[0])
	}
	return false
}

var (
	trap = regexp.MustCompile(`^\s*(SYSCALL|SVC)\b`)
	// numberMove loads a literal into the register that the kernel takes the
	// number from: AX on amd64, R8 on arm64.
	numberMove = regexp.MustCompile(`^\s*MOV[A-Z]*\s+\$[0-9][0-9a-fA-FxX]*,\s*(AX|R8)\b`)
	otherMove  = regexp.MustCompile(`,\s*(AX|R8)\b`)
)

// assembly complains about system calls whose number is a literal.
func assembly(name string, text []byte) []string {
	var complaints []string
	literal := false
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		switch {
		case numberMove.MatchString(line):
			literal = true
		case otherMove.MatchString(line):
			literal = false
		case trap.MatchString(line):
			if literal {
				complaints = append(complaints, fmt.Sprintf("%s:%d: %s", name, number, byHand))
			}
			literal = false
		}
	}
	return complaints
}
