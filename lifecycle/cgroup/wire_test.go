package cgroup

import (
	"reflect"
	"testing"
)

// The bytes that another implementation of the protocol sends for a call.
func TestEncodeCall(t *testing.T) {
	got := encodeCall(1, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello", "", nil)
	const want = "l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6d\x00\x00\x00" +
		"\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00" +
		"\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00" +
		"\x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00" +
		"\x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00"
	if string(got) != want {
		t.Errorf("%q\nwant %q", got, want)
	}
	m, err := decode(got)
	if err != nil || m.fields[fieldMember] != "Hello" || m.fields[fieldPath] != "/org/freedesktop/DBus" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestProperties(t *testing.T) {
	e := &encoder{}
	e.properties([]property{{"A", true}, {"B", []uint32{7}}, {"C", uint64(9)}, {"D", []byte{1}}})
	const want = "\x51\x00\x00\x00\x00\x00\x00\x00" +
		"\x01\x00\x00\x00A\x00\x01b\x00\x00\x00\x00\x01\x00\x00\x00" +
		"\x01\x00\x00\x00B\x00\x02au\x00\x00\x00\x04\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00" +
		"\x01\x00\x00\x00C\x00\x01t\x00\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00" +
		"\x01\x00\x00\x00D\x00\x02ay\x00\x00\x00\x01\x00\x00\x00\x01"
	if string(e.buf) != want {
		t.Errorf("%q\nwant %q", e.buf, want)
	}
}

func TestAnnotated(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       any // nil: an error
	}{
		{"CollectMode", "'inactive-or-failed'", property{"CollectMode", "inactive-or-failed"}},
		{"TimeoutStopUSec", "uint64 10000000", property{"TimeoutStopUSec", uint64(10000000)}},
		{"TimeoutStopSec", "1.5", property{"TimeoutStopUSec", uint64(1500000)}},
		{"TimeoutStopSec", "uint64 2", property{"TimeoutStopUSec", uint64(2000000)}},
		{"KillSignal", "15", property{"KillSignal", int32(15)}},
		{"SendSIGHUP", "true", property{"SendSIGHUP", true}},
		{"After", "['a.service', \"b\"]", property{"After", []string{"a.service", "b"}}},
		{"After", "[]", property{"After", []string{}}},
		{"Description", `'it\'s'`, property{"Description", "it's"}},
		{"Description", "unquoted words", nil},
		{"Description", "'open", nil},
		{"Description", "'a' 'b'", nil},
		{"After", "['a'", nil},
		{"After", "['a' 'b']", nil},
		{"KillSignal", "99999999999", nil},
		{"TimeoutStopSec", "-1", nil},
		{"TimeoutStopSec", "'x'", nil},
		{"", "1", nil},
		{"Bad-Name", "1", nil},
		{"PIDs", "[1]", nil},
		{"Slice", "'x.slice'", nil},
		{"Delegate", "false", nil},
	} {
		got, err := annotated(test.name, test.text)
		if (err != nil) != (test.want == nil) || err == nil && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s=%s: %v, %v", test.name, test.text, got, err)
		}
	}
}

// The other end of a bus is not ours: nothing it sends may crash or hang us.
func FuzzDecode(f *testing.F) {
	f.Add(encodeCall(1, "a.b", "/c", "d.e", "F", "s", []byte("\x01\x00\x00\x00x\x00")))
	f.Add([]byte("B\x04\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Add([]byte("l\x02\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00\x05\x01u\x00\xff\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := decode(raw)
		if (m == nil) == (err == nil) {
			t.Errorf("message %v, error %v", m, err)
		}
		if m != nil {
			d := m.decoder()
			d.uint32()
			if s := d.string() + d.signature(); len(s) > len(raw) {
				t.Errorf("%d bytes out of %d", len(s), len(raw))
			}
		}
	})
}
