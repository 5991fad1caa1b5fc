package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestQuantile(t *testing.T) {
	upTo := func(n int) (all []time.Duration) {
		for i := range n {
			all = append(all, time.Duration(i+1))
		}
		return all
	}
	for _, c := range []struct {
		n    int
		q    float64
		want time.Duration
	}{{1, 0.5, 1}, {1, 0.9, 1}, {3, 0.5, 2}, {4, 0.5, 2}, {10, 0.9, 9}, {50, 0.9, 45}, {50, 0.5, 25}} {
		if got := quantile(upTo(c.n), c.q); got != c.want {
			t.Errorf("quantile(1..%d, %v) = %d, want %d", c.n, c.q, got, c.want)
		}
	}
}

func TestCompareDividesByThePeer(t *testing.T) {
	results := []Result{{Subject: "airplant", Median: 4}, {Subject: "crun", Median: 10}, {Subject: "gone"}}
	compare(results)
	if results[1].Ratio != 0.4 || results[0].Ratio != 0 || results[2].Ratio != 0 {
		t.Errorf("ratios are %v, %v, %v", results[0].Ratio, results[1].Ratio, results[2].Ratio)
	}
	results = []Result{{Subject: "airplant", Status: statusMissing}, {Subject: "crun", Median: 10}}
	compare(results)
	if results[1].Ratio != 0 {
		t.Errorf("ratio %v without airplant", results[1].Ratio)
	}
}

func TestPrivateKiB(t *testing.T) {
	text := "00400000-7fff ---p 0 [rollup]\nRss: 900 kB\nPrivate_Clean:         4 kB\nPrivate_Dirty:        12 kB\n"
	if got, err := privateKiB(text); err != nil || got != 16 {
		t.Errorf("privateKiB = %d, %v", got, err)
	}
	for _, bad := range []string{"", "Private_Clean: 4 kB\n", "Private_Clean: x kB\nPrivate_Dirty: 1 kB\n"} {
		if got, err := privateKiB(bad); err == nil {
			t.Errorf("privateKiB(%q) = %d without an error", bad, got)
		}
	}
}

func TestWithSubIDs(t *testing.T) {
	s := &stage{User: "fern", UID: 1234}
	for _, c := range []struct {
		text string
		want uint32
		ok   bool
	}{
		{"moss:1:2\nfern:100000:65536\n", 100000, true},
		{"1234:200000:65536", 200000, true},
		{"moss:1:2\n", 0, false},
		{"fern:x:2\n", 0, false},
	} {
		file := filepath.Join(t.TempDir(), "subuid")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := withSubIDs(file, s, 1234)
		if (err == nil) != c.ok {
			t.Errorf("%q: error %v", c.text, err)
		}
		if err != nil {
			continue
		}
		want := []specs.LinuxIDMapping{
			{ContainerID: 0, HostID: 1234, Size: 1}, {ContainerID: 1, HostID: c.want, Size: 65536},
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: %v, want %v", c.text, got, want)
		}
	}
}

func TestAlternateStopsAfterAFailure(t *testing.T) {
	b := &bench{stage: &stage{Rounds: 3, Warmup: 2}}
	good, bad := 0, 0
	subjects := []subject{
		{name: "good", run: func(int) error { good++; return nil }},
		{name: "bad", run: func(int) error { bad++; return errors.New("no") }},
		{name: "gone", err: errNotInstalled},
	}
	times := b.alternate(t.Context(), subjects, b.Rounds)
	if good != 5 || bad != 1 || len(times[0]) != 3 || len(times[1]) != 0 {
		t.Errorf("good ran %d times and counted %d, bad ran %d times", good, len(times[0]), bad)
	}
	for i, want := range []string{statusOK, statusFailed, statusMissing} {
		if got := summary(subjects[i], times[i]); got.Status != want {
			t.Errorf("%s is %q, want %q", subjects[i].name, got.Status, want)
		}
	}
}

func TestTogether(t *testing.T) {
	var ran, now, most atomic.Int64
	err := together(3, 10, func(int) error {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		ran.Add(1)
		return nil
	})
	if ran.Load() != 10 || most.Load() > 3 || err != nil {
		t.Errorf("%d runs, %d at a time, %v", ran.Load(), most.Load(), err)
	}
	if err := together(2, 10, func(int) error { return errNotInstalled }); !errors.Is(err, errNotInstalled) {
		t.Errorf("an error came back as %v", err)
	}
}

func TestChoose(t *testing.T) {
	all := allCases()
	def, err := choose(all, nil)
	if err != nil || len(def) != len(all) {
		t.Errorf("%d of %d cases by default, %v", len(def), len(all), err)
	}
	if one, err := choose(all, []string{"run-image"}); err != nil || len(one) != 1 {
		t.Errorf("run-image chose %d, %v", len(one), err)
	}
	if _, err := choose(all, []string{"nope"}); err == nil {
		t.Error("an unknown case is accepted")
	}
	if _, err := parse([]string{"-n", "0"}, io.Discard); err == nil {
		t.Error("-n 0 is accepted")
	}
}
