package sys

// GrowStack makes a goroutine's stack as large as most work needs, before there
// is much on it. A stack begins small and doubles, and each time pages are touched
// for the new size, and the tables of all functions on it are read: 16 page
// faults, a twentieth of what `oci state` costs.
func GrowStack() { haveFrame(false) }

// haveFrame has so large a frame; what is not executed is not cleared either.
//
//go:noinline
func haveFrame(use bool) (sum byte) {
	if use {
		var room [28 << 10]byte
		for i := range room {
			room[i] = sum
			sum += room[(i*7)%len(room)]
		}
	}
	return sum
}
