// Package archtest holds the rules that keep the module's structure, for a
// test that applies them to all of its packages:
//
//   - imports point down: cmd > lifecycle > image, fsfuse, netns > userns >
//     internal/birth > internal/sys, and gVisor is netns/slirp's alone;
//   - unsafe stays in files that say so, below the packages that may act on
//     the kernel;
//   - nothing heavy and nothing of the tests is linked into the program, and
//     nothing into the small one that containers need not pay for;
//   - no func init, because every command pays for it;
//   - no system call number is written by hand, since they differ between
//     architectures.
//
// A rule is a function from what "go list" or go/parser found to complaints.
// The rules look at names alone: they do not know what a package does.
package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// module is the path that all of our packages begin with.
const module = "airplant"

// Package is what the rules need of "go list -json".
type Package struct {
	ImportPath string
	Imports    []string
}

// layer is a tree of packages and its height: imports go to a lower height,
// or stay in the tree.
type layer struct {
	tree   string
	height int
}

var layers = []layer{
	{"cmd", 50},
	{"internal/doctor", 40},
	{"internal/hello", 40},
	{"lifecycle", 40},
	{"image", 30},
	{"fsfuse", 30},
	{"netns", 30},
	{"userns", 20},
	{"internal/birth", 10},
	{"internal/lookup", 0},
	{"internal/nofile", 0},
	{"internal/sys", 0},
	{"internal/table", 0},
}

// testOnly are the trees that the program must not contain: only tests and each
// other may import them, or the build runs them.
var testOnly = []string{"internal/archtest", "internal/bench", "internal/conformance", "internal/pack", "internal/testenv"}

// ownedBy are foreign modules that one tree of ours alone may import.
var ownedBy = map[string]string{"gvisor.dev/gvisor": "netns/slirp"}

// notLinked are packages that cost start-up time or size out of proportion.
var notLinked = []string{
	"C",
	"github.com/aws",
	"github.com/containers/gvisor-tap-vsock",
	"github.com/containers/image",
	"github.com/gogo/protobuf",
	"github.com/golang/protobuf",
	"github.com/google/gopacket",
	"github.com/gopacket/gopacket",
	"google.golang.org/grpc",
	"google.golang.org/protobuf",
	"runtime/cgo",
	"testing",
}

// notSmall are packages that the whole program alone has: every container would
// pay for their initialisation.
var notSmall = []string{
	"airplant/image/puller",
	"airplant/image/registry",
	"airplant/internal/doctor",
	"compress",
	"crypto/tls",
	"github.com/alecthomas/kong",
	"github.com/klauspost/compress",
	"go",
	"net/http",
	"regexp",
	"text/template",
}

// within tells whether a package path is in a tree.
func within(path, tree string) bool {
	return path == tree || strings.HasPrefix(path, tree+"/")
}

// ours strips the module from the path of one of our packages.
func ours(path string) (string, bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

func inTests(path string) bool {
	return slices.ContainsFunc(testOnly, func(tree string) bool { return within(path, tree) })
}

// layerOf is the layer that a path of ours is in.
func layerOf(path string) (layer, bool) {
	for _, l := range layers {
		if within(path, l.tree) {
			return l, true
		}
	}
	return layer{}, false
}

// Directions complains about imports that do not point down.
func Directions(pkgs []Package) []string {
	var complaints []string
	for _, pkg := range pkgs {
		path, _ := ours(pkg.ImportPath)
		if inTests(path) {
			continue
		}
		from, ok := layerOf(path)
		if !ok {
			complaints = append(complaints, path+" is in no layer: give it a place in archtest.layers")
			continue
		}
		for _, imported := range pkg.Imports {
			if why := upward(from, imported); why != "" {
				complaints = append(complaints, fmt.Sprintf("%s imports %s: %s", path, imported, why))
			}
		}
	}
	return complaints
}

// upward says why a package of the layer may not import another, "" if it may.
func upward(from layer, imported string) string {
	to, own := ours(imported)
	if !own {
		return ""
	}
	if inTests(to) {
		return "it is for tests"
	}
	if within(to, from.tree) {
		return ""
	}
	if l, ok := layerOf(to); ok && l.height >= from.height {
		return "imports point down"
	}
	return ""
}

// Owners complains about foreign packages that are imported outside of the
// tree they belong to.
func Owners(pkgs []Package) []string {
	var complaints []string
	for _, pkg := range pkgs {
		path, _ := ours(pkg.ImportPath)
		for _, imported := range pkg.Imports {
			for foreign, owner := range ownedBy {
				if within(imported, foreign) && !within(path, owner) {
					complaints = append(complaints, fmt.Sprintf("%s imports %s: only %s does", path, imported, owner))
				}
			}
		}
	}
	return complaints
}

// Small complains about packages that only the whole program may contain.
func Small(deps []string) []string {
	var complaints []string
	for _, dep := range deps {
		if slices.ContainsFunc(notSmall, func(tree string) bool { return within(dep, tree) }) {
			complaints = append(complaints, "the small program contains "+dep)
		}
	}
	return complaints
}

// Linked complains about packages that the program must not contain.
func Linked(deps []string) []string {
	var complaints []string
	for _, dep := range deps {
		path, own := ours(dep)
		heavy := slices.ContainsFunc(notLinked, func(tree string) bool { return within(dep, tree) })
		if heavy || own && inTests(path) {
			complaints = append(complaints, "the program contains "+dep)
		}
	}
	return complaints
}
