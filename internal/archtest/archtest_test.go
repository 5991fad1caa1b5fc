package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"airplant/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// root is the module's root directory.
const root = "../.."

// architectures are those that the program is built for; their files differ.
var architectures = []string{"amd64", "arm64"}

// goList runs go list in the module's root.
func goList(t *testing.T, arch string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e", "-buildvcs=false"}, args...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, stderr.Bytes())
	}
	return out
}

func packages(t *testing.T, arch string) []Package {
	t.Helper()
	var all []Package
	decode := json.NewDecoder(bytes.NewReader(goList(t, arch, "-json=ImportPath,Imports", "./...")))
	for {
		var pkg Package
		err := decode.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pkg)
	}
	if len(all) < 3 {
		t.Fatalf("go list found %d packages", len(all))
	}
	return all
}

func report(t *testing.T, complaints []string) {
	t.Helper()
	for _, c := range complaints {
		t.Error(c)
	}
}

func TestImports(t *testing.T) {
	for _, arch := range architectures {
		t.Run(arch, func(t *testing.T) {
			all := packages(t, arch)
			report(t, Directions(all))
			report(t, Owners(all))
		})
	}
}

func TestProgramContents(t *testing.T) {
	for _, arch := range architectures {
		t.Run(arch, func(t *testing.T) {
			deps := strings.Fields(string(goList(t, arch, "-deps", "./cmd/airplant")))
			if len(deps) < 5 {
				t.Fatalf("go list found %d dependencies", len(deps))
			}
			report(t, Linked(deps))
			small := strings.Fields(string(goList(t, arch, "-deps", "-tags", "small", "./cmd/airplant")))
			if len(small) < 5 || len(small) >= len(deps) {
				t.Fatalf("go list found %d dependencies of the small program, %d of the whole", len(small), len(deps))
			}
			report(t, Linked(small))
			report(t, Small(small))
		})
	}
}

func TestSources(t *testing.T) {
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "testdata" || name != ".." && strings.HasPrefix(name, ".") {
				return filepath.SkipDir
			}
			return nil
		}
		if ext := filepath.Ext(path); ext != ".go" && ext != ".s" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		files++
		complaints, err := File(name, text)
		report(t, complaints)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 5 {
		t.Errorf("found %d files", files)
	}
}
