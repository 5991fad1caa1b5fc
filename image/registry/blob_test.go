package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// dropping serves one blob over connections that end after some bytes.
type dropping struct {
	data   []byte
	every  int
	ranges bool
	sent   atomic.Int64
}

func (d *dropping) serve(w http.ResponseWriter, r *http.Request) bool {
	rest := d.data
	if after, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok && d.ranges {
		from, _ := strconv.Atoi(strings.TrimSuffix(after, "-"))
		rest = d.data[from:]
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(d.data)-1, len(d.data)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(rest)))
	if len(rest) < len(d.data) {
		w.WriteHeader(http.StatusPartialContent)
	}
	n, _ := w.Write(rest[:min(d.every, len(rest))])
	d.sent.Add(int64(n))
	return true
}

// TestBlobResumes reads a blob over connections that drop, and counts bytes.
func TestBlobResumes(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	desc := v1.Descriptor{Digest: digest.FromBytes(data), Size: int64(len(data))}
	for _, c := range []struct {
		every  int
		ranges bool
		offset int64
		most   int64 // bytes sent, 0: it must fail
	}{
		{100 << 10, true, 0, 1 << 20},
		{100 << 10, true, 777_777, 1<<20 - 777_777},
		{1 << 20, false, 1000, 1 << 20}, // no ranges: it begins anew
		{100, true, 0, 0},               // hardly any progress
		{600 << 10, false, 0, 0},        // the end is out of reach
	} {
		d := &dropping{data: data, every: c.every, ranges: c.ranges}
		s := newServer(t, d.serve)
		rc, err := client(t, Credential{}).Repository(s.host(), "a/b").Blob(t.Context(), desc, c.offset)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		got, err := io.ReadAll(rc)
		rc.Close()
		if c.most == 0 {
			if broken, ok := errors.AsType[*BrokenError](err); !ok || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%+v: got %v, %v", c, err, broken)
			}
			continue
		}
		if err != nil || !bytes.Equal(got, data[c.offset:]) || d.sent.Load() > c.most {
			t.Errorf("%+v: %d bytes, %v; %d were sent", c, len(got), err, d.sent.Load())
		}
	}
}

// TestRetry counts the tries of what may pass, and of what does not.
func TestRetry(t *testing.T) {
	for _, c := range []struct {
		status int
		retry  string
		want   int
	}{
		{500, "", tries},
		{503, "", tries},
		{429, "1", tries},
		{429, "3600", 1},
		{429, "", 1},
		{404, "", 1},
		{403, "", 1},
	} {
		s := newServer(t, func(w http.ResponseWriter, _ *http.Request) bool {
			if c.retry != "" {
				w.Header().Set("Retry-After", c.retry)
			}
			w.WriteHeader(c.status)
			return true
		})
		_, _, err := client(t, Credential{}).Repository(s.host(), "a/b").Manifest(t.Context(), "tag", nil)
		if got := strings.Count(s.log(), "manifests"); got != c.want || err == nil {
			t.Errorf("%d %q: %d tries, want %d; %v", c.status, c.retry, got, c.want, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"30": 30 * time.Second, "Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:00:00 GMT": 0,
	} {
		if got, ok := retryAfter(in, now); got != want || !ok {
			t.Errorf("%q: got %v", in, got)
		}
	}
	for _, bad := range []string{"", "-1", "soon", "99999999999999999999"} {
		if got, ok := retryAfter(bad, now); ok {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

func TestRateLimitHint(t *testing.T) {
	e := &StatusError{Host: "docker.io", Code: 429, Retry: "7200", Limit: "100;w=21600"}
	want := "the limit here is 100 pulls in 6h0m0s; pull again in 2h0m0s; log in for a higher limit: airplant login docker.io"
	if got := e.Hint(); got != want {
		t.Errorf("got %q", got)
	}
}
