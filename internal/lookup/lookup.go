// Package lookup has small tables that the linker lays out. A map at package
// level is filled by code in every command's first milliseconds, whether the
// command looks into it or not: 15 maps of package plan touched 18 pages, a
// tenth of what a Go program touches at all.
package lookup

// Table finds values by key, in the order in which they are written.
type Table[K comparable, V any] []struct {
	Key   K
	Value V
}

// Find returns the value of a key.
func (t Table[K, V]) Find(key K) (value V, ok bool) {
	for n := range t {
		if t[n].Key == key {
			return t[n].Value, true
		}
	}
	return value, false
}

// Get returns the value of a key, the zero value without one.
func (t Table[K, V]) Get(key K) V {
	value, _ := t.Find(key)
	return value
}

// Has reports whether there is the key.
func (t Table[K, V]) Has(key K) bool {
	_, ok := t.Find(key)
	return ok
}

// Keys lists the keys.
func (t Table[K, V]) Keys() []K {
	keys := make([]K, len(t))
	for n := range t {
		keys[n] = t[n].Key
	}
	return keys
}
