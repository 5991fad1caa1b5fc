package lookup

import (
	"slices"
	"testing"
)

func TestTable(t *testing.T) {
	table := Table[string, int]{{"one", 1}, {"none", 0}}
	if v, ok := table.Find("one"); v != 1 || !ok {
		t.Errorf("one: %d, %v", v, ok)
	}
	if v, ok := table.Find("two"); v != 0 || ok {
		t.Errorf("two: %d, %v", v, ok)
	}
	if !table.Has("none") || table.Has("two") || table.Get("none") != 0 {
		t.Error("a key with the zero value is a key")
	}
	if keys := table.Keys(); !slices.Equal(keys, []string{"one", "none"}) {
		t.Errorf("keys: %q", keys)
	}
}
