package cgroup

import (
	"errors"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The hosts of the ladder.
var (
	user      = Caller{UID: 1000, RuntimeDir: "/run/user/1000"}
	root      = Caller{Privileged: true}
	all       = []string{"cpu", "memory", "pids"}
	delegated = Dir{Path: "/user.slice/run-1.scope", Writable: true, Delegated: true, Controllers: all}
	plainOwn  = Dir{Path: "/user.slice/app.scope", Writable: true, Controllers: all}
	session   = Dir{Path: "/user.slice/session-1.scope"}
	top       = Dir{Path: "/", Writable: true, Controllers: all}
)

const v2 = "/sys/fs/cgroup"

func TestChoose(t *testing.T) {
	const bus = Bus("/run/user/1000/bus")
	for name, test := range map[string]struct {
		host Host
		req  Request
		want string // kind, place, whether vacated; or the reason
	}{
		"nothing mounted":        {Host{Caller: user}, Request{}, "disabled: cgroup version 2 is not mounted"},
		"disabled":               {Host{Caller: user, Mount: v2, Own: delegated}, Request{Manager: Disabled, Path: "a:b:c"}, "disabled: "},
		"delegated":              {Host{Caller: user, Mount: v2, Own: delegated, Bus: bus}, Request{}, "cgroupfs /user.slice/run-1.scope/airplant-ID vacate: "},
		"not marked, systemd":    {Host{Caller: user, Mount: v2, Own: plainOwn, Bus: bus}, Request{}, "systemd user.slice airplant-ID.scope: "},
		"not marked, no systemd": {Host{Caller: user, Mount: v2, Own: plainOwn}, Request{}, "cgroupfs /user.slice/app.scope/airplant-ID vacate: "},
		"session":                {Host{Caller: user, Mount: v2, Own: session, Bus: bus}, Request{}, "systemd user.slice airplant-ID.scope: "},
		"session, no systemd":    {Host{Caller: user, Mount: v2, Own: session}, Request{}, "disabled: /sys/fs/cgroup/user.slice/session-1.scope is not delegated"},
		"hybrid user":            {Host{Caller: user, Mount: v2 + "/unified", Hybrid: true, Own: Dir{Path: "/"}, Bus: bus}, Request{}, "disabled: /sys/fs/cgroup/unified is not delegated to us, and the controllers of this host are"},
		"hybrid root":            {Host{Caller: root, Mount: v2 + "/unified", Hybrid: true, Own: Dir{Path: "/", Writable: true}, Target: Dir{Path: "/", Writable: true}}, Request{}, "cgroupfs /airplant-ID vacate: the controllers of this host are version 1's"},
		"outside":                {Host{Caller: user, Mount: v2}, Request{}, "disabled: our own cgroup is not below"},
		"root, systemd":          {Host{Caller: root, Mount: v2, Own: plainOwn, Target: top, Bus: "/b"}, Request{}, "systemd system.slice airplant-ID.scope: "},
		"root, no systemd":       {Host{Caller: root, Mount: v2, Own: plainOwn, Target: top}, Request{}, "cgroupfs /airplant-ID: "},
		"root, delegated":        {Host{Caller: root, Mount: v2, Own: delegated, Target: top, Bus: "/b"}, Request{}, "cgroupfs /user.slice/run-1.scope/airplant-ID vacate: "},
		"cgroupfs, session":      {Host{Caller: user, Mount: v2, Own: session, Bus: bus}, Request{Manager: Cgroupfs}, "disabled: /sys/fs/cgroup/user.slice/session-1.scope is not delegated"},
		"systemd, no bus":        {Host{Caller: user, Mount: v2, Own: delegated}, Request{Manager: Systemd}, "disabled: systemd cannot be reached"},
		"podman":                 {Host{Caller: user, Mount: v2, Own: delegated, Bus: bus}, Request{Manager: Systemd, Path: "user.slice:libpod:abc"}, "systemd user.slice libpod-abc.scope: "},
		"default slice":          {Host{Caller: root, Mount: v2, Bus: "/b"}, Request{Manager: Systemd, Path: ":cri:abc"}, "systemd system.slice cri-abc.scope: "},
		"path of a scope":        {Host{Caller: user, Mount: v2, Own: delegated, Bus: bus}, Request{Path: "user.slice:libpod:abc"}, "systemd user.slice libpod-abc.scope: "},
		"colons to cgroupfs":     {Host{Caller: root, Mount: v2, Target: top}, Request{Manager: Cgroupfs, Path: "a:b:c"}, "cgroupfs /a:b:c: "},
		"given, root":            {Host{Caller: root, Mount: v2, Own: plainOwn, Target: top}, Request{Path: "/kubepods/x"}, "cgroupfs /kubepods/x: "},
		"given, ours":            {Host{Caller: user, Mount: v2, Own: delegated, Target: delegated}, Request{Path: "/user.slice/run-1.scope/x/y"}, "cgroupfs /user.slice/run-1.scope/x/y vacate: "},
		"given, not ours":        {Host{Caller: user, Mount: v2, Own: session, Bus: bus}, Request{Path: "/x"}, "disabled: no directory on the way"},
		"relative, user":         {Host{Caller: user, Mount: v2, Own: delegated}, Request{Path: "x/y"}, "cgroupfs /user.slice/run-1.scope/x/y vacate: "},
		"relative, root":         {Host{Caller: root, Mount: v2, Own: plainOwn, Target: top}, Request{Path: "x/y"}, "cgroupfs /x/y: "},
	} {
		test.req.ID = "ID"
		p, err := Choose(test.host, test.req)
		got := string(p.Kind)
		if p.Kind == Cgroupfs {
			got += " " + p.Path
		} else if p.Kind == Systemd {
			got += " " + p.Slice + " " + p.Unit
		}
		if p.Vacate {
			got += " vacate"
		}
		got += ": " + p.Reason
		if exact := strings.HasSuffix(test.want, ": "); err != nil || exact && got != test.want || !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %q, %v; want %q", name, got, err, test.want)
		}
		if p.ByPID() != (p.Kind == Systemd) || p.User != (p.Kind == Systemd && !test.host.Privileged) {
			t.Errorf("%s: by pid %v, user %v", name, p.ByPID(), p.User)
		}
	}
}

// A cgroupsPath comes from a bundle: what is hostile is refused on any host.
func TestHostilePaths(t *testing.T) {
	h := Host{Caller: root, Mount: v2, Own: delegated, Target: top, Bus: "/b"}
	for _, test := range []struct {
		manager Manager
		path    string
		ok      bool
	}{
		{Auto, "/a/b", true},
		{Auto, "a", true},
		{Auto, "/a//b/", true},
		{Auto, "/..a/b..", true},
		{Auto, "/", false},
		{Auto, "//.", false},
		{Auto, "..", false},
		{Auto, "/a/..", false},
		{Auto, "/a/../b", false},
		{Auto, "../../etc", false},
		{Auto, "/a\nb", false},
		{Auto, "/a\x00b", false},
		{Auto, "/a/cgroup.procs", false},
		{Auto, "/" + strings.Repeat("a", 256), false},
		{Auto, strings.Repeat("/a", 3000), false},
		{Systemd, "a.slice:b:c", true},
		{Systemd, "a-b.slice::c", true},
		{Systemd, "-.slice:b:c", true},
		{Systemd, "/a/b", false},
		{Systemd, "a:b", false},
		{Systemd, "a.slice:b:c:d", false},
		{Systemd, "a:b:c", false},
		{Systemd, "a--b.slice:b:c", false},
		{Systemd, "-a.slice:b:c", false},
		{Systemd, "../a.slice:b:c", false},
		{Systemd, "a.slice:b:../c", false},
		{Systemd, "a.slice:b:", false},
		{Systemd, "a.slice:b:c.slice", false},
		{Systemd, "a.slice:b:c d", false},
		{Systemd, "a.slice:b:" + strings.Repeat("c", 250), false},
	} {
		_, err := Choose(h, Request{ID: "ID", Manager: test.manager, Path: test.path})
		if (err == nil) != test.ok || err != nil && !errors.Is(err, ErrPath) {
			t.Errorf("%s %.40q: %v", test.manager, test.path, err)
		}
	}
	if _, err := Choose(h, Request{Manager: "openrc"}); err == nil {
		t.Error("an unknown manager has no error")
	}
}

func TestMissing(t *testing.T) {
	limit := int64(1 << 20)
	r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}, Unified: map[string]string{"io.max": "8:0 rbps=1"}}
	for _, test := range []struct {
		plan Plan
		want string
	}{
		{Plan{Kind: Cgroupfs, Controllers: []string{"memory", "io"}}, ""},
		{Plan{Kind: Cgroupfs, Controllers: []string{"memory"}}, "io"},
		{Plan{Kind: Disabled}, "memory io"},
		{Plan{Kind: Systemd}, ""},
	} {
		if got := strings.Join(test.plan.Missing(r), " "); got != test.want {
			t.Errorf("%s: %q, want %q", test.plan.Kind, got, test.want)
		}
	}
	if got := (Plan{Kind: Disabled}).Missing(&specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}); got != nil {
		t.Errorf("device rules need %v", got)
	}
}

func TestOwnPath(t *testing.T) {
	const info = "30 20 0:26 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n" +
		"31 20 0:26 %s /sys/fs/cgroup rw - cgroup2 none rw\n"
	for _, test := range []struct{ own, bound, want string }{
		{"0::/a/b", "/", "/a/b"},
		{"9:cpu:/x\n0::/\n", "/", "/"},
		{"0::/docker/1/x", "/docker/1", "/x"},
		{"0::/docker/1", "/docker/1", "/"},
		{"0::/docker/12", "/docker/1", ""},
		{"0::/other", "/docker/1", ""},
		{"0::/../other", "/", ""},
		{"0::/a (deleted)", "/", "/a"},
		{"9:cpu:/x", "/", ""},
	} {
		info := strings.ReplaceAll(info, "%s", test.bound)
		if got := within(unifiedPath(test.own), mountRoot(info, "/sys/fs/cgroup")); got != test.want {
			t.Errorf("%q bound from %s: %q, want %q", test.own, test.bound, got, test.want)
		}
	}
}
