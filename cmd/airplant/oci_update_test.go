package main

import (
	"math"
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "-1": -1, "1024b": 1024, "1 B": 1,
		"512k": 512 << 10, "512KB": 512 << 10, "512KiB": 512 << 10, "64M": 64 << 20, "1.5GiB": 3 << 29, "2t": 2 << 40, "1p": 1 << 50,
		" 8m ": 8 << 20, "0.5k": 512, "9223372036854775807": math.MaxInt64,
	} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", " ", "-2", "-1k", "m", "1x", "1kk", "1km", "1bk", "k1", "1,5k", "0x10", "1e3", "inf", "nan", "8192p", "9223372036854775808", "1e30k",
	} {
		if got, ok := parseSize(text); ok {
			t.Errorf("parseSize(%q) = %d; want an error", text, got)
		}
	}
}

// TestUpdateFlags: what is not given stays nil, which is "do not change", and
// 0 and -1 arrive as they were given.
func TestUpdateFlags(t *testing.T) {
	none, err := (&ociUpdate{}).fromFlags()
	if err != nil || none.Pids != nil || none.BlockIO != nil || none.Memory.Limit != nil || none.Memory.Swap != nil ||
		none.CPU.Quota != nil || none.CPU.Period != nil || none.CPU.Shares != nil || none.CPU.Burst != nil || none.CPU.Idle != nil {
		t.Errorf("nothing given: %+v, %v", none, err)
	}
	r, err := (&ociUpdate{
		BlkioWeight: "10", CPUPeriod: "100000", CPUQuota: "-1", CPUBurst: "0", CPUShare: "1024", CPUIdle: "1",
		CpusetCpus: "0-1", CpusetMems: "0", Memory: "32M", MemoryReservation: "1k", MemorySwap: "-1", PidsLimit: "0",
	}).fromFlags()
	if err != nil {
		t.Fatal(err)
	}
	if *r.BlockIO.Weight != 10 || *r.CPU.Period != 100000 || *r.CPU.Quota != -1 || *r.CPU.Burst != 0 || *r.CPU.Shares != 1024 ||
		*r.CPU.Idle != 1 || r.CPU.Cpus != "0-1" || r.CPU.Mems != "0" {
		t.Errorf("cpu %+v, blockIO %+v", r.CPU, r.BlockIO)
	}
	if *r.Memory.Limit != 32<<20 || *r.Memory.Reservation != 1024 || *r.Memory.Swap != -1 || *r.Pids.Limit != 0 {
		t.Errorf("memory %+v, pids %+v", r.Memory, r.Pids)
	}
	for flag, c := range map[string]ociUpdate{
		"blkio-weight":   {BlkioWeight: "65536"},
		"cpu-period":     {CPUPeriod: "-1"},
		"cpu-quota":      {CPUQuota: "1.5"},
		"cpu-share":      {CPUShare: "many"},
		"memory":         {Memory: "lots"},
		"memory-swap":    {MemorySwap: "9000000000000000000000"},
		"pids-limit":     {PidsLimit: "18446744073709551615"},
		"cpu-rt-runtime": {CPURtRuntime: "x"},
	} {
		if _, err := c.fromFlags(); err == nil || !strings.Contains(err.Error(), "--"+flag+" ") {
			t.Errorf("wrong --%s: %v", flag, err)
		}
	}
}

func TestParseInterval(t *testing.T) {
	for text, want := range map[string]string{"5s": "5s", "5": "5s", "100ms": "100ms", "1m30s": "1m30s"} {
		if got, err := parseInterval(text); err != nil || got.String() != want {
			t.Errorf("parseInterval(%q) = %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "-1", "0s", "-5s", "soon", "1048576000"} {
		if got, err := parseInterval(text); err == nil {
			t.Errorf("parseInterval(%q) = %v; want an error", text, got)
		}
	}
}
