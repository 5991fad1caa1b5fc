package cgroup

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestWeights(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 0, 1: 1, 2: 1, 1024: 100, 512: 59, 2048: 174, 262143: 10000, 262144: 10000, 1 << 40: 10000} {
		if got := cpuWeight(shares); got != want {
			t.Errorf("shares %d: weight %d, want %d", shares, got, want)
		}
	}
	for last, shares := uint64(1), uint64(2); shares < 262144; shares += 97 {
		got := cpuWeight(shares)
		if got < last || got > 10000 {
			t.Fatalf("shares %d: weight %d after %d", shares, got, last)
		}
		last = got
	}
	for weight, want := range map[uint16]uint64{0: 0, 1: 1, 10: 1, 500: 4950, 1000: 10000, 2000: 10000} {
		if got := ioWeight(weight); got != want {
			t.Errorf("io weight %d: %d, want %d", weight, got, want)
		}
	}
}

func TestQuotaPerSecond(t *testing.T) {
	for _, test := range []struct {
		quota  int64
		period uint64
		want   uint64
	}{
		{50000, 100000, 500000},
		{50000, 0, 500000},
		{-1, 100000, Unlimited},
		{1000, 100000, 10000},
		{1001, 100000, 20000},
		{200000, 50000, 4000000},
	} {
		if got := quotaPerSecond(test.quota, test.period); got != test.want {
			t.Errorf("%d of %d: %d, want %d", test.quota, test.period, got, test.want)
		}
	}
}

func TestCPUBits(t *testing.T) {
	for list, want := range map[string]string{
		"0": "01", "0-2,7": "87", "8": "0001", "1,9": "0202", "": "",
		"2-1": "error", "a": "error", "0-": "error", "-1": "error", "65536": "error", "0-99999999999": "error",
	} {
		bits, err := cpuBits(list)
		got := fmt.Sprintf("%x", bits)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", list, got, want)
		}
	}
}

// What resources become: files and values in order, and systemd's properties.
func TestSettings(t *testing.T) {
	for _, test := range []struct{ resources, files, props string }{
		{`{}`, "", ""},
		{`{"memory":{"limit":1000,"swap":1500,"reservation":500}}`, "memory.swap.max=500 memory.max=1000 memory.low=500", "MemorySwapMax=500 MemoryMax=1000 MemoryLow=500"},
		{`{"memory":{"limit":-1}}`, "memory.swap.max=max memory.max=max", "MemorySwapMax=18446744073709551615 MemoryMax=18446744073709551615"},
		{`{"memory":{"limit":1000,"swap":1000}}`, "memory.swap.max=0 memory.max=1000", "MemorySwapMax=0 MemoryMax=1000"},
		{`{"memory":{"limit":1000,"swap":-1}}`, "memory.swap.max=max memory.max=1000", "MemorySwapMax=18446744073709551615 MemoryMax=1000"},
		{`{"memory":{"limit":0,"swap":0,"kernel":0,"kernelTCP":0,"swappiness":0,"disableOOMKiller":false}}`, "", ""},
		{`{"memory":{"swap":1000}}`, "error", ""},
		{`{"memory":{"limit":1000,"swap":999}}`, "error", ""},
		{`{"memory":{"limit":-1,"swap":999}}`, "error", ""},
		{`{"memory":{"swappiness":10}}`, "error", ""},
		{`{"memory":{"kernelTCP":10}}`, "error", ""},
		{`{"memory":{"disableOOMKiller":true}}`, "error", ""},
		{`{"cpu":{"shares":1024,"quota":50000,"period":100000}}`, "cpu.weight=100 cpu.max=50000 100000", "CPUWeight=100 CPUQuotaPerSecUSec=500000"},
		{`{"cpu":{"quota":50000}}`, "cpu.max=50000", "CPUQuotaPerSecUSec=500000"},
		{`{"cpu":{"quota":-1}}`, "cpu.max=max", "CPUQuotaPerSecUSec=18446744073709551615"},
		{`{"cpu":{"period":50000}}`, "cpu.max=50000", ""},
		{`{"cpu":{"quota":50000,"period":50000,"burst":1000}}`, "cpu.max=50000 50000 cpu.max.burst=1000", "CPUQuotaPerSecUSec=1000000 CPUQuotaPeriodUSec=50000"},
		{`{"cpu":{"idle":1,"shares":2}}`, "cpu.weight=1 cpu.idle=1", "CPUWeight=1"},
		{`{"cpu":{"idle":0,"shares":2}}`, "cpu.idle=0 cpu.weight=1", "CPUWeight=1"},
		{`{"cpu":{"cpus":"0-1","mems":"0"}}`, "cpuset.cpus=0-1 cpuset.mems=0", "AllowedCPUs=[3] AllowedMemoryNodes=[1]"},
		{`{"cpu":{"cpus":"0-x"}}`, "error", ""},
		{`{"cpu":{"realtimeRuntime":1}}`, "error", ""},
		{`{"cpu":{"realtimeRuntime":0,"realtimePeriod":0}}`, "", ""},
		{`{"pids":{"limit":5}}`, "pids.max=5", "TasksMax=5"},
		{`{"pids":{"limit":-1}}`, "pids.max=max", "TasksMax=18446744073709551615"},
		{`{"pids":{"limit":0}}`, "pids.max=max", "TasksMax=18446744073709551615"},
		{`{"blockIO":{"weight":10}}`, "io.bfq.weight=10 io.weight=default 1", "IOWeight=1"},
		{`{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":1000}]}}`, "io.bfq.weight=8:0 1000 io.weight=8:0 10000", ""},
		{`{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":9}],"throttleWriteIOPSDevice":[{"major":8,"minor":1,"rate":0}]}}`, "io.max=8:0 rbps=9 io.max=8:1 wiops=max", ""},
		{`{"blockIO":{"leafWeight":10}}`, "error", ""},
		{`{"hugepageLimits":[{"pageSize":"2MB","limit":9}]}`, "hugetlb.2MB.max=9 hugetlb.2MB.rsvd.max=9", ""},
		{`{"hugepageLimits":[{"pageSize":"../2MB","limit":9}]}`, "error", ""},
		{`{"hugepageLimits":[{"pageSize":"2","limit":9}]}`, "error", ""},
		{`{"rdma":{"mlx":{"hcaHandles":2,"hcaObjects":3}}}`, "rdma.max=mlx hca_handle=2 hca_object=3", ""},
		{`{"rdma":{"a b":{"hcaHandles":2}}}`, "error", ""},
		{`{"network":{"classID":1}}`, "error", ""},
		{`{"network":{"classID":0,"priorities":[]}}`, "", ""},
		{`{"unified":{"memory.high":"100","io.max":"8:0 rbps=1\n8:1 wbps=2\n"}}`, "io.max=8:0 rbps=1 io.max=8:1 wbps=2 memory.high=100", "MemoryHigh=100"},
		{`{"unified":{"cpu.max":"50000 100000"}}`, "cpu.max=50000 100000", "CPUQuotaPerSecUSec=500000"},
		{`{"unified":{"cgroup.max.depth":"3"}}`, "cgroup.max.depth=3", ""},
		{`{"unified":{"cgroup.kill":"1"}}`, "error", ""},
		{`{"unified":{"cgroup.procs":"1"}}`, "error", ""},
		{`{"unified":{"../memory.max":"1"}}`, "error", ""},
		{`{"unified":{"memory/x":"1"}}`, "error", ""},
		{`{"unified":{"memory":"1"}}`, "error", ""},
		{`{"unified":{"notthere.max":"1"}}`, "error", ""},
	} {
		var r specs.LinuxResources
		if err := json.Unmarshal([]byte(test.resources), &r); err != nil {
			t.Fatalf("%s: %v", test.resources, err)
		}
		list, err := settings(&r)
		var got []string
		for _, s := range list {
			got = append(got, s.files[0]+"="+s.value)
		}
		files := strings.Join(got, " ")
		if err != nil {
			files = "error"
		}
		if files != test.files {
			t.Errorf("%s: %q (%v), want %q", test.resources, files, err, test.files)
		}
		props, err := limitProperties(&r)
		if (err != nil) != (test.files == "error") {
			t.Errorf("%s: properties: %v", test.resources, err)
		}
		got = nil
		for _, p := range props {
			got = append(got, fmt.Sprintf("%s=%v", p.name, p.value))
		}
		if all := strings.Join(got, " "); all != test.props {
			t.Errorf("%s: properties %q, want %q", test.resources, all, test.props)
		}
	}
}

func TestParsing(t *testing.T) {
	psi, err := parsePSI("some avg10=1.50 avg60=2.00 avg300=0.25 total=1000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n")
	if err != nil || psi.Some.Avg10 != 1.5 || psi.Some.Avg60 != 2 || psi.Some.Avg300 != .25 || psi.Some.Total.Milliseconds() != 1 || psi.Full.Total.Microseconds() != 7 {
		t.Errorf("%+v, %v", psi, err)
	}
	if _, err := parsePSI("some avg10=x"); err == nil {
		t.Error("a pressure of x has no error")
	}
	got := ioDevices("8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n252:3 \nx\n8:1 rbytes=9 cost.usage=1\n")
	if len(got) != 2 || got[0] != (IODevice{8, 0, 1, 2, 3, 4, 5, 6}) || got[1].ReadBytes != 9 || got[1].Minor != 1 {
		t.Errorf("%+v", got)
	}
	flat := flatKeyed("low 0\nmax 3\noom max\nbad x\nnothing\n")
	if len(flat) != 3 || flat["max"] != 3 || flat["oom"] != Unlimited {
		t.Errorf("%v", flat)
	}
}
