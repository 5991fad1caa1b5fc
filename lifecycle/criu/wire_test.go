package criu

import (
	"encoding/hex"
	"testing"
)

// TestEncode compares with what protoc makes of the same message.
func TestEncode(t *testing.T) {
	o := &Options{
		Images: 5, PID: 300, LeaveRunning: true, Root: "/r", Mounts: []Pair{{"/a", "b"}},
		Inherit: []Inherited{{"pipe:[1]", 0}}, External: []string{"x"},
	}
	const want = "0805" + "10ac02" + "1801" + "4804" + "6001" + "6a022f72" +
		"ba01070a022f61120162" + "900200" + "da010c0a08706970653a5b315d1000" + "aa020178"
	if got := hex.EncodeToString(o.encode()); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestDecode(t *testing.T) {
	text, err := hex.DecodeString("0806" + "1001" + "2a0b0a0470726573" + "10ac02" + "7a00" + "38" + "0b")
	if err != nil {
		t.Fatal(err)
	}
	var r response
	if err := r.decode(text[:len(text)-3]); err == nil {
		t.Error("a notice that is longer than its message is taken")
	}
	text, err = hex.DecodeString("0806" + "1001" + "2a090a0470726573" + "10ac02" + "380b" + "4a0162")
	if err != nil {
		t.Fatal(err)
	}
	r = response{}
	if err := r.decode(text); err != nil {
		t.Fatal(err)
	}
	if r.kind != notify || !r.success || r.notice.Script != "pres" || r.notice.PID != 300 || r.errno != 11 || r.text != "b" {
		t.Errorf("%+v", r)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x08\x06\x10\x01\x2a\x09\x0a\x04pres\x10\xac\x02"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		var r response
		_ = r.decode(text) // it must end, whatever comes
	})
}
