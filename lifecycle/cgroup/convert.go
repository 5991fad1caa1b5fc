package cgroup

import (
	"fmt"
	"math"
	"strconv"
)

// The runtime-spec's numbers are version 1's. What follows makes version 2's
// of them.

// limit is a number where any negative one means none.
func limit(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// cpuWeight converts shares (2 to 262144, default 1024) to a weight (1 to
// 10000, default 100). The curve is the one that runtimes have agreed on: a
// parabola between logarithms, so that least, default and most meet, which no
// straight line does. 0 stays 0, not set.
func cpuWeight(shares uint64) uint64 {
	switch {
	case shares == 0:
		return 0
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	exponent := (l*l+125*l)/612 - 7.0/34
	return uint64(math.Ceil(math.Pow(10, exponent)))
}

// ioWeight converts a blkio weight (10 to 1000) to io.weight (1 to 10000).
func ioWeight(weight uint16) uint64 {
	if weight == 0 {
		return 0
	}
	w := min(max(uint64(weight), 10), 1000)
	return 1 + (w-10)*9999/990
}

// swapMax converts version 1's limit of memory and swap together to version
// 2's of swap alone. ok is false when swap is left as it is.
func swapMax(memory, both int64) (value string, ok bool, err error) {
	switch {
	case both == 0 && memory < 0:
		return "max", true, nil // unlimited memory means unlimited swap, as in version 1
	case both == 0:
		return "", false, nil
	case both < 0:
		return "max", true, nil
	case memory <= 0:
		return "", false, fmt.Errorf("memory.swap %d needs a memory.limit: it is the limit of both together", both)
	case both < memory:
		return "", false, fmt.Errorf("memory.swap %d is lower than memory.limit %d: it is the limit of both together", both, memory)
	}
	return strconv.FormatInt(both-memory, 10), true, nil
}

// defaultPeriod is the kernel's, in microseconds.
const defaultPeriod = 100000

// quotaPerSecond is a cpu quota as systemd has it: microseconds a second,
// rounded up to its resolution of 10 ms.
func quotaPerSecond(quota int64, period uint64) uint64 {
	if quota <= 0 {
		return math.MaxUint64
	}
	if period == 0 {
		period = defaultPeriod
	}
	const second, step = 1000000, 10000
	perSecond := uint64(quota) * second / period
	return (perSecond + step - 1) / step * step
}

// cpuBits is a list of cpus or memory nodes ("0-2,7") as systemd takes it:
// bit n of byte n/8.
func cpuBits(list string) ([]byte, error) {
	var bits []byte
	for _, r := range splitList(list) {
		from, to, err := bounds(r)
		if err != nil {
			return nil, fmt.Errorf("list of cpus or nodes %q: %w", list, err)
		}
		for n := from; n <= to; n++ {
			for len(bits) <= n/8 {
				bits = append(bits, 0)
			}
			bits[n/8] |= 1 << (n % 8)
		}
	}
	return bits, nil
}
