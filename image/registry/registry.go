// Package registry reads images from registries that speak the OCI
// distribution-spec: manifests and blobs, with basic and token
// authentication.
//
//	client             registry                 token server
//	  | GET manifest      |                          |
//	  |------------------>|                          |
//	  |  401 Bearer realm |                          |
//	  |<------------------|                          |
//	  | GET realm?service&scope (+ basic auth)       |
//	  |--------------------------------------------->|
//	  |                token                         |
//	  |<---------------------------------------------|
//	  | GET manifest, Authorization: Bearer          |
//	  |------------------>|                          |
//
// Credentials go to the registry that they belong to and to the token server
// that it names, and nowhere else: an Authorization header never follows a
// redirect to another origin, a redirect or realm never leaves TLS, and a
// challenge that comes from the target of a redirect is not answered
// (CVE-2020-15157).
//
// Registries on loopback addresses are spoken to by plain HTTP, all others by
// HTTPS, unless the files that [World] reads say otherwise.
//
// Not done here: digests of blobs are not verified (whoever reads them to the
// end does), nothing is pushed, credential helpers are not run.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// MaxManifest is the size of a manifest above which it is refused, as by most
// registries.
const MaxManifest = 4 << 20

// Credential is what a registry asks for.
type Credential struct {
	Username, Password string
	// Identity is a token for the token server, in place of a password.
	Identity string
}

// Client talks to registries. It is safe for concurrent use and keeps tokens
// and connections.
type Client struct {
	http *http.Client
	auth func(host, repository string) (Credential, error)
	// pause waits before a further try; tests do not.
	pause func(context.Context, time.Duration) error

	mu     sync.Mutex
	header map[string]string // Authorization by origin and scope
}

// New returns a client. auth gives the credential for a repository, the zero
// value for none; it may be nil.
func New(auth func(host, repository string) (Credential, error)) *Client {
	if auth == nil {
		auth = func(string, string) (Credential, error) { return Credential{}, nil }
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 15 * time.Second}
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // blobs are counted and hashed as they are
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		TLSHandshakeTimeout:   20 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
	}
	return &Client{
		http:   &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		auth:   auth,
		pause:  pause,
		header: map[string]string{},
	}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// checkRedirect keeps credentials at their origin. Go drops them for another
// domain, but not for a subdomain, another port or the way to plain HTTP.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	last := via[len(via)-1].URL
	if last.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("redirect from https to %s", req.URL.Scheme)
	}
	if first := via[0].URL; first.Scheme != req.URL.Scheme || first.Host != req.URL.Host {
		for k := range req.Header { // of hosts.toml, too
			if k != "Accept" && k != "Range" && k != "User-Agent" {
				req.Header.Del(k)
			}
		}
	}
	return nil
}

// Repository is one repository of a registry.
type Repository struct {
	client *Client
	host   string
	name   string
	base   string
	scheme string
	scopes []string // what is asked of a token server
	root   string   // where the interface of the registry begins
	header map[string][]string
	plain  bool // credentials may go to a token server by plain HTTP
}

// key is what an Authorization header is remembered by.
func (r *Repository) key() string { return r.base + " " + strings.Join(r.scopes, " ") }

// Repository returns the repository called name of the registry at host,
// which may contain a port.
func (c *Client) Repository(host, name string) *Repository {
	base := BaseURL(host)
	scheme, _, _ := strings.Cut(base, ":")
	return &Repository{
		client: c, host: host, name: name, scheme: scheme, root: base, base: base + name + "/",
		scopes: []string{"repository:" + name + ":pull"},
	}
}

// BaseURL is where the interface of a registry begins.
func BaseURL(host string) string {
	switch {
	case host == "docker.io":
		host = "registry-1.docker.io"
	case isLoopback(host):
		return "http://" + host + "/v2/"
	}
	return "https://" + host + "/v2/"
}

func isLoopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.IsLoopback()
}

// Manifest fetches a manifest or index by tag or digest. The content is not
// compared with a digest.
func (r *Repository) Manifest(ctx context.Context, reference string, accept []string) (body []byte, mediaType string, err error) {
	resp, err := r.get(ctx, r.base+"manifests/"+reference, strings.Join(accept, ", "), 0)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, MaxManifest+1))
	if err != nil {
		return nil, "", fmt.Errorf("read manifest: %w", err)
	}
	if len(body) > MaxManifest {
		return nil, "", fmt.Errorf("manifest is larger than %d bytes", MaxManifest)
	}
	mediaType, _, _ = strings.Cut(resp.Header.Get("Content-Type"), ";")
	return body, strings.TrimSpace(mediaType), nil
}
