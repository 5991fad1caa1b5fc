package main

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

var (
	errNotInstalled = errors.New("not installed")
	errUnable       = errors.New("it cannot do that")
)

// subject is one program, or one sequence of programs, in a case.
type subject struct {
	name  string
	ready func() error      // before each run, may be nil
	run   func(i int) error // what the clock counts; i is new each time
	done  func()            // after the last run, may be nil
	peak  *int64            // KiB that the largest process of a run held, may be nil
	err   error             // why it cannot run at all
	most  int64             // the largest peak
}

// benchCase is a row of subjects that do the same work.
type benchCase struct {
	name string
	what string
	// rounds is the most that are worth while, when a run takes long.
	rounds int
	// subjects prepares a timed case.
	subjects func(b *bench) []subject
	// value takes the place of subjects in a case that weighs things.
	value func(b *bench) []Result
}

const (
	statusOK      = "ok"
	statusMissing = "not installed"
	statusFailed  = "failed"
	statusSkipped = "skipped"
)

// Result is what one subject of one case reached.
type Result struct {
	Case    string `json:"case"`
	Subject string `json:"subject"`
	Status  string `json:"status"`
	Error   string `json:"error,omitempty"`
	Runs    int    `json:"runs,omitempty"`
	// Times are in milliseconds.
	Median float64 `json:"median_ms,omitempty"`
	P90    float64 `json:"p90_ms,omitempty"`
	Min    float64 `json:"min_ms,omitempty"`
	// Ratio is airplant's median divided by this subject's.
	Ratio float64 `json:"ratio,omitempty"`
	// Peak is the memory of the largest process, in MiB.
	Peak float64 `json:"peak_mib,omitempty"`
	// Value and Unit are set in cases that weigh instead of time.
	Value float64 `json:"value,omitempty"`
	Unit  string  `json:"unit,omitempty"`
}

func (b *bench) runCase(ctx context.Context, c benchCase) []Result {
	var results []Result
	if c.value != nil {
		results = c.value(b)
	} else {
		subjects := c.subjects(b)
		rounds := b.Rounds
		if c.rounds > 0 {
			rounds = min(rounds, c.rounds)
		}
		times := b.alternate(ctx, subjects, rounds)
		for i, s := range subjects {
			if s.done != nil {
				s.done()
			}
			results = append(results, summary(s, times[i]))
		}
		compare(results)
	}
	for i := range results {
		results[i].Case = c.name
	}
	return results
}

// alternate lets the subjects take turns and returns the times of each. A
// subject that fails gets its error and no further turn.
func (b *bench) alternate(ctx context.Context, subjects []subject, rounds int) [][]time.Duration {
	times := make([][]time.Duration, len(subjects))
	for round := range b.Warmup + rounds {
		for _, i := range rand.Perm(len(subjects)) {
			s := &subjects[i]
			if s.err != nil {
				continue
			}
			if s.err = ctx.Err(); s.err != nil {
				continue
			}
			if s.ready != nil {
				s.err = s.ready()
				b.reap()
			}
			if s.err != nil {
				continue
			}
			if s.peak != nil {
				*s.peak = 0
				shrink()
			}
			start := time.Now()
			s.err = s.run(round)
			took := time.Since(start)
			b.reap()
			if s.peak != nil {
				s.most = max(s.most, *s.peak)
			}
			if s.err == nil && round >= b.Warmup {
				times[i] = append(times[i], took)
			}
		}
	}
	return times
}

// together does f n times, so many at a time, and stops at an error.
func together(atOnce, n int, f func(i int) error) error {
	var next atomic.Int64
	errs := make(chan error, atOnce)
	for range atOnce {
		go func() {
			var err error
			for i := int(next.Add(1)); i <= n && err == nil; i = int(next.Add(1)) {
				err = f(i)
			}
			errs <- err
		}()
	}
	var all error
	for range atOnce {
		all = errors.Join(all, <-errs)
	}
	return all
}

func summary(s subject, times []time.Duration) Result {
	r := Result{Subject: s.name, Status: statusOK}
	switch {
	case errors.Is(s.err, errNotInstalled):
		r.Status = statusMissing
	case errors.Is(s.err, errUnable):
		r.Status, r.Error = statusSkipped, s.err.Error()
	case s.err != nil:
		r.Status, r.Error = statusFailed, s.err.Error()
	default:
		slices.Sort(times)
		r.Runs = len(times)
		r.Median, r.P90, r.Min = ms(quantile(times, 0.5)), ms(quantile(times, 0.9)), ms(times[0])
		r.Peak = float64(s.most>>6) / 16
	}
	return r
}

// quantile takes the nearest rank of sorted times; the median of an even
// number is the mean of the two in the middle.
func quantile(sorted []time.Duration, q float64) time.Duration {
	n := len(sorted)
	if q == 0.5 && n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[min(n-1, int(math.Ceil(q*float64(n)))-1)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// compare sets the ratios: airplant is the first subject.
func compare(results []Result) {
	if len(results) == 0 || results[0].Median == 0 {
		return
	}
	for i := range results[1:] {
		if r := &results[i+1]; r.Median > 0 {
			r.Ratio = math.Round(results[0].Median/r.Median*1000) / 1000
		}
	}
}
