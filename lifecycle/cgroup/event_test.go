package cgroup

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// kernelFiles are a group's, as Linux 6.1 had them.
var kernelFiles = map[string]string{
	"cpu.stat":            "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 10\nnr_throttled 4\nthrottled_usec 2000\nnr_bursts 0\nburst_usec 0\n",
	"cpu.pressure":        "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99\n",
	"memory.current":      "4096\n",
	"memory.max":          "67108864\n",
	"memory.low":          "0\n",
	"memory.peak":         "8192\n",
	"memory.swap.current": "512\n",
	"memory.swap.max":     "max\n",
	"memory.events":       "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\n",
	"memory.stat":         "anon 1000\nfile 2048\nkernel 300\nsock 5\n",
	"pids.current":        "3\n",
	"pids.max":            "max\n",
	"io.stat":             "254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:1 \n",
	"hugetlb.2MB.current": "2097152\n",
	"hugetlb.2MB.max":     "4194304\n",
	"hugetlb.2MB.events":  "max 2\n",
}

// TestReport: events --stats prints what runc's does, which containerd and
// others parse: version 1's names and nanoseconds.
func TestReport(t *testing.T) {
	at := t.TempDir()
	for name, text := range kernelFiles {
		if err := os.WriteFile(filepath.Join(at, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := (&Group{dir: dir{f}}).Stats()
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(Event{Type: "stats", ID: "c", Data: s.Report()})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"stats","id":"c","data":{` +
		`"cpu":{"usage":{"total":1500000,"kernel":500000,"user":1000000},"throttling":{"periods":10,"throttledPeriods":4,"throttledTime":2000000},` +
		`"psi":{"some":{"avg10":1.5,"avg60":0.25,"avg300":0,"total":1234},"full":{"avg10":0,"avg60":0,"avg300":0,"total":99}}},` +
		`"cpuset":{},` +
		`"memory":{"cache":2048,"usage":{"limit":67108864,"usage":4096,"max":8192,"failcnt":7},` +
		`"swap":{"limit":18446744073709551615,"usage":4608,"failcnt":0},` +
		`"kernel":{"limit":18446744073709551615,"usage":300,"failcnt":0},"kernelTCP":{"limit":18446744073709551615,"usage":5,"failcnt":0},` +
		`"raw":{"anon":1000,"file":2048,"kernel":300,"sock":5}},` +
		`"pids":{"current":3},` +
		`"blkio":{"ioServiceBytesRecursive":[{"major":254,"op":"Read","value":10},{"major":254,"op":"Write","value":20}],` +
		`"ioServicedRecursive":[{"major":254,"op":"Read","value":1},{"major":254,"op":"Write","value":2}]},` +
		`"hugetlb":{"2MB":{"usage":2097152,"failcnt":2}},"rdma":{},"intel_rdt":{},"network_interfaces":null}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if oom, _ := json.Marshal(Event{Type: "oom", ID: "c"}); string(oom) != `{"type":"oom","id":"c"}` {
		t.Errorf("oom: %s", oom)
	}
}

// TestReportBare: a group without controllers has times, and nothing else.
func TestReportBare(t *testing.T) {
	s := &Stats{CPU: CPUStats{Usage: 2 * time.Second}}
	r := s.Report()
	if r.CPU.Usage.Total != 2e9 || r.Memory.Raw != nil || r.Pids.Limit != 0 || r.Blkio.Bytes != nil || r.Hugetlb != nil {
		t.Errorf("%+v", r)
	}
}
