package cgroup

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// eval interprets a program as the kernel does.
func eval(t *testing.T, program []insn, context [3]uint32) bool {
	t.Helper()
	var r [11]uint32
	for at, steps := 0, 0; at < len(program); at, steps = at+1, steps+1 {
		i := program[at]
		switch i.code {
		case opLoad:
			r[i.dst] = context[i.off/4]
		case opMove:
			r[i.dst] = r[i.src]
		case opSet:
			r[i.dst] = uint32(i.imm)
		case opAnd:
			r[i.dst] &= uint32(i.imm)
		case opShift:
			r[i.dst] >>= i.imm
		case opJumpEq:
			if r[i.dst] == uint32(i.imm) {
				at += int(i.off)
			}
		case opJumpNe:
			if r[i.dst] != uint32(i.imm) {
				at += int(i.off)
			}
		case opExit:
			return r[0] == 1
		default:
			t.Fatalf("instruction %d has code %#x", at, i.code)
		}
	}
	t.Fatal("the program runs past its end")
	return false
}

func TestDeviceProgram(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	deny := specs.LinuxDeviceCgroup{Access: "rwm"}
	rule := func(allow bool, kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
		return specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Major: number(major), Minor: number(minor), Access: access}
	}
	const char, block = devChar, devBlock
	for name, test := range map[string]struct {
		rules                      []specs.LinuxDeviceCgroup
		kind, major, minor, access uint32
		want                       bool
	}{
		"null":                      {[]specs.LinuxDeviceCgroup{deny}, char, 1, 3, accRead | accWrite, true},
		"pts":                       {[]specs.LinuxDeviceCgroup{deny}, char, 136, 9, accRead | accWrite, true},
		"disk":                      {[]specs.LinuxDeviceCgroup{deny}, block, 8, 0, accRead, false},
		"mem":                       {[]specs.LinuxDeviceCgroup{deny}, char, 1, 1, accRead, false},
		"mknod":                     {[]specs.LinuxDeviceCgroup{deny}, block, 8, 0, accMknod, true},
		"mknod and read":            {[]specs.LinuxDeviceCgroup{deny}, block, 8, 0, accMknod | accRead, false},
		"allowed":                   {[]specs.LinuxDeviceCgroup{deny, rule(true, "c", 10, 229, "rwm")}, char, 10, 229, accRead | accWrite, true},
		"other kind":                {[]specs.LinuxDeviceCgroup{deny, rule(true, "c", 10, 229, "rwm")}, block, 10, 229, accRead, false},
		"other minor":               {[]specs.LinuxDeviceCgroup{deny, rule(true, "c", 10, 229, "rwm")}, char, 10, 200, accRead, false},
		"any minor":                 {[]specs.LinuxDeviceCgroup{deny, rule(true, "c", 10, -1, "rwm")}, char, 10, 200, accRead, true},
		"read alone, read":          {[]specs.LinuxDeviceCgroup{deny, rule(true, "b", 8, 0, "r")}, block, 8, 0, accRead, true},
		"read alone, both":          {[]specs.LinuxDeviceCgroup{deny, rule(true, "b", 8, 0, "r")}, block, 8, 0, accRead | accWrite, false},
		"by two rules":              {[]specs.LinuxDeviceCgroup{deny, rule(true, "b", 8, 0, "r"), rule(true, "b", 8, -1, "w")}, block, 8, 0, accRead | accWrite, true},
		"the last rule counts":      {[]specs.LinuxDeviceCgroup{deny, rule(true, "b", 8, -1, "rwm"), rule(false, "b", 8, 0, "w")}, block, 8, 0, accWrite, false},
		"the last rule, read":       {[]specs.LinuxDeviceCgroup{deny, rule(true, "b", 8, -1, "rwm"), rule(false, "b", 8, 0, "w")}, block, 8, 0, accRead, true},
		"allow all":                 {[]specs.LinuxDeviceCgroup{{Allow: true, Type: "a", Access: "rwm"}}, block, 8, 0, accAll, true},
		"allow all, then deny":      {[]specs.LinuxDeviceCgroup{{Allow: true}, deny}, block, 8, 0, accRead, false},
		"nothing said is forbidden": {[]specs.LinuxDeviceCgroup{rule(true, "c", 10, 229, "rwm")}, block, 8, 0, accRead, false},
	} {
		list, err := parseDevices(test.rules)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := eval(t, deviceProgram(list), [3]uint32{test.access<<16 | test.kind, test.major, test.minor})
		if got != test.want {
			t.Errorf("%s: allowed %v, want %v", name, got, test.want)
		}
	}
	for _, bad := range []specs.LinuxDeviceCgroup{{Type: "x"}, {Access: "rx"}, {Major: number(1 << 40)}} {
		if _, err := parseDevices([]specs.LinuxDeviceCgroup{bad}); err == nil {
			t.Errorf("%+v has no error", bad)
		}
	}
}
