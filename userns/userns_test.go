package userns

import (
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestKeepID(t *testing.T) {
	sub := []Range{{524288, 65536}}
	for _, c := range []struct {
		id     int
		ranges []Range
		want   string
	}{
		{1000, sub, "0 524288 1000\n1000 4242 1\n1001 525288 64536\n"},
		{0, sub, "0 4242 1\n1 524288 65536\n"},
		{5, nil, "5 4242 1\n"},
		{10, []Range{{100, 10}, {300, 10}}, "0 100 10\n10 4242 1\n11 300 10\n"},
		{12, []Range{{100, 10}, {300, 10}}, "0 100 10\n10 300 2\n12 4242 1\n13 302 8\n"},
		{70000, sub, "0 524288 65536\n70000 4242 1\n"},
	} {
		if got := Text(KeepID(4242, 4242, c.id, c.id, c.ranges, c.ranges).UIDs); got != c.want {
			t.Errorf("keep %d over %v:\n%swant\n%s", c.id, c.ranges, got, c.want)
		}
	}
}

func TestRangesAndLookups(t *testing.T) {
	m := Ranges(1000, 100, []Range{{10, 5}, {50, 5}}, []Range{{70, 2}})
	if got := Text(m.UIDs) + Text(m.GIDs); got != "0 1000 1\n1 10 5\n6 50 5\n0 100 1\n1 70 2\n" {
		t.Error(got)
	}
	for id, want := range map[uint32]uint32{1000: 0, 10: 1, 14: 5, 54: 10} {
		if got, ok := Inside(m.UIDs, id); !ok || got != want {
			t.Errorf("outside %d is inside %d, %v", id, got, ok)
		}
	}
	if _, ok := Inside(m.UIDs, 15); ok || Mapped(m.UIDs, 11) || !Mapped(m.UIDs, 10) {
		t.Error("ids outside the map")
	}
	if m.IsOne(1000, 100) || !One(1000, 100, 0, 0).IsOne(1000, 100) || One(1000, 100, 0, 0).IsOne(1000, 101) {
		t.Error("IsOne")
	}
	if got := One(7, 8, 9, 10); !reflect.DeepEqual(got.GIDs, []specs.LinuxIDMapping{{ContainerID: 10, HostID: 8, Size: 1}}) {
		t.Errorf("%v", got)
	}
}

func TestParseSubids(t *testing.T) {
	const file = "other:1:2\nme:100:5\n# me:1:1\n42:200:6\nme:x:1\nme:4294967295:10\nme:7:0\n:9:9\n"
	got, err := parseSubids(strings.NewReader(file), "me", "42")
	if want := []Range{{100, 5}, {200, 6}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, _ := parseSubids(strings.NewReader(file), "", "43"); got != nil {
		t.Errorf("user without a name got %v", got)
	}
}
