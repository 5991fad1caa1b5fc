//go:build !small

package main

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

// TestQuickAgreesWithKong parses command lines in both ways. Where the quick
// one takes a line, the result must be kong's.
func TestQuickAgreesWithKong(t *testing.T) {
	people := (&env{}).peopleFace()
	engines := ociFace(&ociGlobals{})
	for _, c := range []struct {
		face  *face
		line  string
		quick bool
	}{
		{engines, "state x", true},
		{engines, "--root /r --log /l --log-format json state x", true},
		{engines, "--root=/r state x", true},
		{engines, "--root state state state", true},
		{engines, "--debug --systemd-cgroup create --bundle /b --pid-file /p --no-pivot --preserve-fds 3 x", true},
		{engines, "create -b /b --console-socket=/s x", true},
		{engines, "run -d --keep x", true},
		{engines, "kill x", true},
		{engines, "kill --all x 9", true},
		{engines, "delete --force x", true},
		{engines, "list -f json", true},
		{engines, "list -q", true},
		{engines, "list -f xml", false},
		{engines, "--log-format xml state x", false},
		{engines, "state", false},
		{engines, "state x y", false},
		{engines, "state --help", false},
		{engines, "create --preserve-fds many x", false},
		{engines, "create --preserve-fds=-1 x", true},
		{engines, "create --no-pivot=false x", false},
		{engines, "delete -f=true x", false},
		{engines, "create --bundle", false},
		{engines, "--version", false},
		{engines, "nosuch x", false},
		{engines, "exec -- x /bin/true -x -- y", true},
		{engines, "exec -e A=b -e C=d --cwd /w -- x sh -c id", true},
		{engines, "exec -- x", true},
		{engines, "exec --", false},
		{engines, "state -- x", true},
		{engines, "state -- x y", false},
		// What containerd's shim sends, and conmon and buildah.
		{engines, "--root /r --log /l --log-format json --systemd-cgroup create --bundle /b --pid-file /p --console-socket /s x", true},
		{engines, "--root /r --log /l --log-format json start x", true},
		{engines, "--root /r --log /l --log-format json kill --all x 9", true},
		{engines, "--root /r --log /l --log-format json delete --force x", true},
		{engines, "--root /r --log /l --log-format json exec --process /f --console-socket /s --detach --pid-file /p -- x", true},
		{engines, "--root /r --log /l --log-format json ps --format json -- x", true},
		{engines, "--root /r --log /l --log-format json events --stats x", true},
		{engines, "--root /r --log /l --log-format json update --resources - x", true},
		{engines, "--root /r --log /l --log-format json pause x", true},
		{engines, "--root /r --log /l --log-format json resume x", true},
		{engines, "--systemd-cgroup --root=/r create --bundle /b --pid-file /p --preserve-fds 2 x", true},
		{engines, "exec --pid-file /p --process /f --detach --preserve-fds 1 --cgroup /c -- x", true},
		{engines, "create --bundle /b --pid-file /p --no-new-keyring --no-pivot x", true},
		{engines, "features", true},
		{people, "run --rm -- image", true},
		{people, "run --rm -- image true --rm", true},
		{people, "run --rm --name n --network host -w /d -u 1:2 --rootfs / -- sh -c id", true},
		{people, "run --network moon -- image", false},
		{people, "run -it -- image", true},
		{people, "run -ti=x -- image", false},
		{people, "run -iw /d -- image", false},
		{people, "run -ix -- image", false},
		{people, "run -e A=b --env C=d,e -e F -- image", true},
		{people, "run -eA=b -- image", false},
		{people, "run -v /a:/b:ro --volume=/c:/d --tmpfs /t:size=1m,mode=700 -- image", true},
		{people, "run --cap-add NET_RAW --cap-add=CHOWN --cap-drop ALL -- image", true},
		{people, "run --cap-add NET_RAW,CHOWN -- image", false},
		{people, "run --entrypoint x -- image", true},
		{people, "run --entrypoint= -- image", true},
		{people, "doctor --json", true},
		{people, "images -q", true},
		{people, "pull --policy never -q image", true},
	} {
		args := strings.Fields(c.line)
		name, at := c.face.named(args)
		grammar := func() any {
			for _, k := range c.face.commands {
				if k.name == name {
					return k.grammar()
				}
			}
			return &struct{}{}
		}
		quickly, globals := grammar(), reflect.New(reflect.TypeOf(c.face.globals).Elem()).Interface()
		var q, g quick
		ok := at < len(args) && c.face.index(name) >= 0 && g.read(args[:at], globals) && q.read(args[at+1:], quickly)
		if ok != c.quick {
			t.Errorf("%q: quick: %v", c.line, ok)
		}
		if !ok {
			continue
		}
		slow := grammar()
		f := *c.face
		f.globals = reflect.New(reflect.TypeOf(c.face.globals).Elem()).Interface()
		f.commands = []command{{name, "", func() any { return slow }}}
		if _, done, err := f.parse(args, io.Discard); done || err != nil {
			t.Errorf("%q: kong refuses what quick takes: %v", c.line, err)
		}
		if !reflect.DeepEqual(quickly, slow) || !reflect.DeepEqual(globals, f.globals) {
			t.Errorf("%q:\nquick %+v %+v\nkong  %+v %+v", c.line, quickly, globals, slow, f.globals)
		}
	}
}
