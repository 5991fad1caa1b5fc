package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Opener opens the content of a blob from an offset.
type Opener = func(offset int64) (io.ReadCloser, error)

const (
	// small is the size up to which a blob is sent with the request that ends
	// its upload.
	small = 1 << 20
	// firstChunk is what is tried where a registry, or what stands before it,
	// refuses a request for its size.
	firstChunk = 16 << 20
)

// Pusher writes to a repository.
//
//	HEAD blobs/D                      it has it: done
//	POST blobs/uploads/?mount=D&from  201: it took it from another repository
//	                                  202: Location
//	PATCH Location, the content       broken: GET Location says how far it came
//	PUT Location?digest=D
//
// A broken upload goes on where it stopped. Credentials are not sent to a
// Location of another origin.
type Pusher struct {
	repo *Repository
	from []string
}

// NewPusher returns a writer to a repository. Blobs may be taken from the
// repositories in from, which are of the same registry.
func NewPusher(repo *Repository, from []string) *Pusher {
	r := *repo
	r.scopes = []string{"repository:" + r.name + ":pull,push"}
	for _, f := range from {
		r.scopes = append(r.scopes, "repository:"+f+":pull")
	}
	return &Pusher{repo: &r, from: from}
}

// request is one request to a registry, which may be sent several times.
type request struct {
	method, url string
	header      http.Header
	body        Opener // from 0; nil: none
	size        int64
	ok          []int // answers that are successes
	once        bool  // do not repeat it: the caller knows better
}

// do sends a request, authenticates if it is asked to, and tries again what
// may help. The caller closes the body of the answer.
func (p *Pusher) do(ctx context.Context, q request) (*http.Response, error) {
	asked := false
	for try := 0; ; try++ {
		resp, err := p.send(ctx, q)
		if err == nil && slices.Contains(q.ok, resp.StatusCode) {
			return resp, nil
		}
		var status *StatusError
		if err == nil {
			status = statusError(p.repo.host, resp)
			err = status
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case status != nil && status.Code == http.StatusUnauthorized && !asked && p.ours(resp.Request.URL):
			asked = true
			if err := p.repo.login(ctx, resp.Header.Values("WWW-Authenticate")); err != nil {
				return nil, fmt.Errorf("%w: %w", status, err)
			}
			continue
		}
		wait, again := retryable(err, try+1)
		if q.once || !again || try >= tries-1 {
			return nil, err
		}
		if err := p.repo.client.pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

func (p *Pusher) send(ctx context.Context, q request) (*http.Response, error) {
	var body io.Reader
	if q.body != nil {
		rc, err := q.body(0)
		if err != nil {
			return nil, err
		}
		body = rc // closed by the transport
	}
	req, err := http.NewRequestWithContext(ctx, q.method, q.url, body)
	if err != nil {
		return nil, err
	}
	if q.body != nil {
		req.ContentLength = q.size
		req.GetBody = func() (io.ReadCloser, error) { return q.body(0) }
		if q.size == 0 {
			req.Body.Close()
			req.Body, req.GetBody = http.NoBody, nil
		}
	}
	if p.ours(req.URL) {
		for k, v := range p.repo.header {
			req.Header[http.CanonicalHeaderKey(k)] = v
		}
	}
	for k, v := range q.header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "airplant")
	if h := p.repo.client.cached(p.repo.key()); h != "" && p.ours(req.URL) {
		req.Header.Set("Authorization", h)
	}
	resp, err := p.repo.client.http.Do(req)
	if err != nil {
		return nil, &UnreachableError{Host: p.repo.host, Err: err}
	}
	return resp, nil
}

// ours tells whether a URL is of the registry's own origin.
func (p *Pusher) ours(u *url.URL) bool {
	base, err := url.Parse(p.repo.base)
	return err == nil && u.Scheme == base.Scheme && u.Host == base.Host
}

// Has tells whether the repository has a blob.
func (p *Pusher) Has(ctx context.Context, d v1.Descriptor) (bool, error) {
	resp, err := p.do(ctx, request{method: http.MethodHead, url: p.repo.base + "blobs/" + string(d.Digest), ok: []int{200, 404}})
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK && (resp.ContentLength < 0 || resp.ContentLength == d.Size), nil
}

// Document writes a manifest or index under a tag or digest.
func (p *Pusher) Document(ctx context.Context, reference string, d v1.Descriptor, text []byte) error {
	resp, err := p.do(ctx, request{
		method: http.MethodPut, url: p.repo.base + "manifests/" + reference, header: http.Header{"Content-Type": {d.MediaType}},
		body: opener(text), size: int64(len(text)), ok: []int{200, 201, 202},
	})
	if err != nil {
		return fmt.Errorf("put manifest %s: %w", reference, err)
	}
	resp.Body.Close()
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != string(d.Digest) {
		return fmt.Errorf("put manifest %s: the registry calls it %s, not %s", reference, printable(got), d.Digest)
	}
	return nil
}

func opener(text []byte) Opener {
	return func(offset int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text[offset:])), nil }
}

// Blob writes a blob. from is the repository that it was taken from, if that
// was possible.
func (p *Pusher) Blob(ctx context.Context, d v1.Descriptor, open Opener) (from string, err error) {
	for _, f := range p.from {
		location, mounted, err := p.begin(ctx, d, f)
		if err != nil {
			return "", err
		}
		if mounted {
			return f, nil
		}
		if location != "" {
			return "", p.upload(ctx, location, d, open)
		}
	}
	for try := 0; ; try++ {
		location, _, err := p.begin(ctx, d, "")
		if err == nil {
			err = p.upload(ctx, location, d, open)
		}
		if err == nil || try >= tries-1 || !errors.Is(err, errLost) {
			return "", err
		}
		// The end of the upload may have arrived, and only its answer not.
		if has, err := p.Has(ctx, d); err != nil || has {
			return "", err
		}
	}
}

// errLost means that the registry does not know an upload any more.
var errLost = errors.New("the registry has forgotten the upload")

// begin opens an upload, or has the blob taken from another repository.
func (p *Pusher) begin(ctx context.Context, d v1.Descriptor, from string) (location string, mounted bool, err error) {
	u := p.repo.base + "blobs/uploads/"
	if from != "" {
		u += "?" + url.Values{"mount": {string(d.Digest)}, "from": {from}}.Encode()
	}
	resp, err := p.do(ctx, request{method: http.MethodPost, url: u, body: opener(nil), ok: []int{201, 202}})
	if err != nil {
		return "", false, fmt.Errorf("begin upload: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusCreated {
		return "", true, nil
	}
	location, err = p.location(resp)
	return location, false, err
}

// location is where an upload goes on. TLS is not left.
func (p *Pusher) location(resp *http.Response) (string, error) {
	u, err := resp.Location()
	if err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}
	if u.Scheme != p.repo.scheme && u.Scheme != "https" {
		return "", fmt.Errorf("upload: refused to go on at %s, because it is not reached by https", u.Redacted())
	}
	return u.String(), nil
}

// upload sends the content to an open upload.
func (p *Pusher) upload(ctx context.Context, location string, d v1.Descriptor, open Opener) error {
	s := &stream{Pusher: p, d: d, open: open, location: location}
	body, size := open, d.Size
	if d.Size > small {
		for s.offset < d.Size {
			if err := s.patch(ctx); err != nil {
				if err := s.mend(ctx, err); err != nil {
					return fmt.Errorf("upload %s: %w", d.Digest, err)
				}
			}
		}
		body, size = opener(nil), 0
	}
	u, err := url.Parse(s.location)
	if err != nil {
		return err
	}
	query := u.Query()
	query.Set("digest", string(d.Digest))
	u.RawQuery = query.Encode()
	resp, err := p.do(ctx, request{
		method: http.MethodPut, url: u.String(), header: http.Header{"Content-Type": {"application/octet-stream"}},
		body: body, size: size, ok: []int{201, 204},
	})
	if err != nil {
		return fmt.Errorf("upload %s: %w", d.Digest, lost(err))
	}
	return resp.Body.Close()
}

// lost recognises an upload that the registry does not know any more.
func lost(err error) error {
	var status *StatusError
	if errors.As(err, &status) && (status.Code == http.StatusNotFound || status.Code == http.StatusRequestedRangeNotSatisfiable) {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return err
}

// stream is an upload that goes on after errors.
type stream struct {
	*Pusher
	d        v1.Descriptor
	open     Opener
	location string
	offset   int64
	chunk    int64 // 0: all at once
	failed   int   // since it last came on
}

// patch sends what is left, or a chunk of it.
func (s *stream) patch(ctx context.Context) error {
	end := s.d.Size
	if s.chunk > 0 {
		end = min(end, s.offset+s.chunk)
	}
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	if s.chunk > 0 || s.offset > 0 {
		header.Set("Content-Range", fmt.Sprintf("%d-%d", s.offset, end-1))
	}
	start, size := s.offset, end-s.offset
	resp, err := s.do(ctx, request{
		method: http.MethodPatch, url: s.location, header: header, size: size, ok: []int{202, 204}, once: true,
		body: func(offset int64) (io.ReadCloser, error) {
			rc, err := s.open(start + offset)
			if err != nil {
				return nil, err
			}
			return struct {
				io.Reader
				io.Closer
			}{io.LimitReader(rc, size-offset), rc}, nil
		},
	})
	if err != nil {
		return err
	}
	resp.Body.Close()
	s.offset, s.failed = end, 0
	s.location, err = s.Pusher.location(resp)
	return err
}

// mend finds out where to go on after an error, if that is of use.
func (s *stream) mend(ctx context.Context, err error) error {
	var status *StatusError
	tooLarge := errors.As(err, &status) && status.Code == http.StatusRequestEntityTooLarge
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case tooLarge && s.chunk == 0:
		s.chunk = firstChunk
	case tooLarge && s.chunk > small:
		s.chunk /= 2
	default:
		wait, again := retryable(err, s.failed+1)
		if !again || s.failed >= tries-1 {
			return lost(err)
		}
		if err := s.repo.client.pause(ctx, wait); err != nil {
			return err
		}
		s.failed++
	}
	resp, err := s.do(ctx, request{method: http.MethodGet, url: s.location, ok: []int{200, 202, 204}})
	if err != nil {
		return lost(err)
	}
	resp.Body.Close()
	at := rangeEnd(resp.Header.Get("Range"))
	if at > s.offset {
		s.failed = 0
	}
	s.offset = min(at, s.d.Size)
	if resp.Header.Get("Location") != "" {
		s.location, err = s.Pusher.location(resp)
	}
	return err
}

// rangeEnd reads how many bytes have arrived. Registries say 0-0 for none.
func rangeEnd(s string) int64 {
	_, last, ok := strings.Cut(strings.TrimPrefix(s, "bytes="), "-")
	n, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil || n <= 0 {
		return 0
	}
	return n + 1
}
