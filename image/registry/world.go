package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"airplant/image/registries"
)

// World finds registries by what is written down on this machine: mirrors,
// certificates, insecure registries and credentials. It is safe for concurrent
// use.
type World struct {
	places registries.Places
	auth   func(host, repository string) (Credential, error)
	load   func() (*registries.Config, error)

	mu      sync.Mutex
	clients map[string]*Client
}

// NewWorld reads nothing yet. etc is /etc, but in tests.
func NewWorld(getenv func(string) string, etc string) *World {
	w := &World{places: registries.Places{Getenv: getenv, Etc: etc}, auth: FileAuth(getenv), clients: map[string]*Client{}}
	w.load = sync.OnceValues(func() (*registries.Config, error) { return registries.Load(w.places) })
	return w
}

// Repository is a repository where it belongs, never a mirror: for pushes and
// logins. Where several ways may lead there, it tries them.
func (w *World) Repository(ctx context.Context, host, name string) (*Repository, error) {
	list, err := w.repositories(host, name, "")
	if err != nil || len(list) == 1 {
		return firstOf(list), err
	}
	for _, r := range list {
		_, answer := errors.AsType[*StatusError](err)
		trial := *r
		trial.scopes = nil
		resp, tried := trial.attempt(ctx, r.root, "*/*", 0)
		if tried == nil {
			return r, resp.Body.Close()
		}
		// A server with TLS answers 400 to plain HTTP.
		if status, ok := errors.AsType[*StatusError](tried); ok && status.Code != http.StatusBadRequest {
			return r, nil
		}
		if !answer {
			err = tried
		}
	}
	return nil, err
}

func firstOf(list []*Repository) *Repository {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// Close closes idle connections.
func (w *World) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.clients {
		c.Close()
	}
}

// repositories lists the places to ask for a repository, in order. reference
// says whether mirrors for tags or for digests count.
func (w *World) repositories(host, name, reference string) ([]*Repository, error) {
	config, err := w.load()
	if err != nil {
		return nil, err
	}
	endpoints, err := config.Endpoints(w.places, host, name)
	if err != nil {
		return nil, fmt.Errorf("registry %s: %w", host, err)
	}
	kind := "tag-only"
	if strings.HasPrefix(reference, "sha256:") {
		kind = "digest-only"
	}
	var list []*Repository
	for _, e := range endpoints {
		if e.Mirror && (reference == "" || e.Only == "digest-only" && kind != e.Only || e.Only == "tag-only" && kind != e.Only) {
			continue
		}
		c, err := w.client(e)
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", e.Host, err)
		}
		for _, scheme := range schemes(e) {
			list = append(list, c.at(e, scheme))
		}
	}
	return list, nil
}

// schemes are the ways to speak to a registry, the likeliest first. On loopback
// nobody can listen, so plain HTTP is allowed there, too.
func schemes(e registries.Endpoint) []string {
	switch {
	case e.Scheme != "":
		return []string{e.Scheme}
	case len(e.CAs) > 0 && !e.Insecure:
		return []string{"https"}
	case isLoopback(e.Host):
		return []string{"http", "https"}
	case e.Insecure:
		return []string{"https", "http"}
	}
	return []string{"https"}
}

// client makes a client for the certificates of an endpoint, or finds the one
// that was made before.
func (w *World) client(e registries.Endpoint) (*Client, error) {
	insecure := e.Insecure || isLoopback(e.Host) && len(e.CAs) == 0
	key := fmt.Sprint(insecure, e.CAs, e.Pairs, e.Header)
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.clients[key]; c != nil {
		return c, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: insecure}
	if len(e.CAs) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		for _, path := range e.CAs {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			if !pool.AppendCertsFromPEM(text) {
				return nil, fmt.Errorf("%s: no certificate in it", path)
			}
		}
		config.RootCAs = pool
	}
	for _, p := range e.Pairs {
		pair, err := tls.LoadX509KeyPair(p[0], p[1])
		if err != nil {
			return nil, fmt.Errorf("client certificate %s: %w", p[0], err)
		}
		config.Certificates = append(config.Certificates, pair)
	}
	c := New(w.auth)
	transport, ok := c.http.Transport.(*http.Transport)
	if !ok {
		return nil, errors.New("no transport")
	}
	transport.TLSClientConfig = config
	w.clients[key] = c
	return c, nil
}

// at is a repository at an endpoint.
func (c *Client) at(e registries.Endpoint, scheme string) *Repository {
	path := e.Path
	if path == "" {
		path = "/v2"
	}
	host := e.Host
	if host == "registry-1.docker.io" {
		host = "docker.io" // by which its credentials and people know it
	}
	root := scheme + "://" + e.Host + path + "/"
	return &Repository{
		client: c, host: host, name: e.Repository, scheme: scheme, root: root, base: root + e.Repository + "/",
		header: e.Header, plain: e.Insecure, scopes: []string{"repository:" + e.Repository + ":pull"},
	}
}
