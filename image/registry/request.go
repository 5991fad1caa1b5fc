package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// tries is how often in a row something may fail before it is an error.
	tries = 5
	// maxWait is the longest Retry-After that is waited for; a person is told
	// of a longer one.
	maxWait = 20 * time.Second
)

// pause waits, unless the context ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// backoff is how long to wait after the given number of failures in a row:
// about 0.5, 1, 2, 4 seconds, spread so that many clients do not come back as
// one.
func backoff(failures int) time.Duration {
	d := 500 * time.Millisecond << min(failures-1, 4)
	return d/2 + rand.N(d)
}

// get requests a URL of the repository from an offset on, authenticating if it
// is asked to, and again if that may help. The response is a success.
func (r *Repository) get(ctx context.Context, url, accept string, offset int64) (*http.Response, error) {
	for failures := 1; ; failures++ {
		resp, err := r.attempt(ctx, url, accept, offset)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		wait, again := retryable(err, failures)
		if !again || failures >= tries {
			return nil, err
		}
		if err := r.client.pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// retryable tells whether the same request may succeed later, and when. A name
// that does not resolve and a port where nobody listens are told at once.
func retryable(err error, failures int) (time.Duration, bool) {
	if status, ok := errors.AsType[*StatusError](err); ok {
		switch status.Code {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			if status.Retry == "" {
				// A limit of hours does not pass in seconds.
				return backoff(failures), status.Code == http.StatusServiceUnavailable
			}
			wait, ok := retryAfter(status.Retry, time.Now())
			return wait, ok && wait <= maxWait
		case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusRequestTimeout:
			return backoff(failures), true
		}
		return 0, false
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return 0, false
	}
	if _, ok := errors.AsType[*UnreachableError](err); !ok || isTLS(err) {
		return 0, false
	}
	return backoff(failures), !errors.Is(err, unix.ECONNREFUSED)
}

// retryAfter reads the header of that name: seconds or a date (RFC 9110,
// section 10.2.3).
func retryAfter(s string, now time.Time) (time.Duration, bool) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(t.Sub(now), 0), true
	}
	return 0, false
}

// attempt is one request, and a second one if the first is asked for
// credentials.
func (r *Repository) attempt(ctx context.Context, url, accept string, offset int64) (*http.Response, error) {
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		for k, v := range r.header {
			req.Header[http.CanonicalHeaderKey(k)] = v
		}
		req.Header.Set("Accept", accept)
		req.Header.Set("User-Agent", "airplant")
		if offset > 0 {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		}
		if h := r.client.cached(r.key()); h != "" {
			req.Header.Set("Authorization", h)
		}
		resp, err := r.client.http.Do(req)
		if err != nil {
			return nil, &UnreachableError{Host: r.host, Err: err}
		}
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent && offset > 0 {
			return resp, nil
		}
		status := statusError(r.host, resp)
		origin := resp.Request.URL.Scheme == req.URL.Scheme && resp.Request.URL.Host == req.URL.Host
		if resp.StatusCode != http.StatusUnauthorized || !origin || try > 0 {
			return nil, status
		}
		if err := r.login(ctx, resp.Header.Values("WWW-Authenticate")); err != nil {
			return nil, fmt.Errorf("%w: %w", status, err)
		}
	}
}
