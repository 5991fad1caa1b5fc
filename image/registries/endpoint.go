package registries

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Endpoint is a place where a repository can be found.
type Endpoint struct {
	Host       string // perhaps with a port
	Repository string
	Scheme     string // "http" or "https" where it is written down, else ""
	Path       string // of the interface, "/v2" where nothing is written down
	// Insecure allows a certificate that nobody vouches for, and plain HTTP.
	Insecure bool
	Only     string              // "digest-only" or "tag-only" for some mirrors
	CAs      []string            // files with certificates of authorities
	Pairs    [][2]string         // files with client certificates and their keys
	Header   map[string][]string // to be sent
	Mirror   bool
}

// ErrBlocked means that registries.conf forbids a registry.
var ErrBlocked = errors.New("blocked by registries.conf")

// Endpoints lists where a repository can be found: its mirrors in order, and
// the registry itself last.
func (c *Config) Endpoints(p Places, host, repository string) ([]Endpoint, error) {
	name := host + "/" + repository
	primary := Endpoint{Host: host, Repository: repository}
	var list []Endpoint
	if e := c.match(name); e != nil {
		if e.blocked {
			return nil, ErrBlocked
		}
		rest := strings.TrimPrefix(name, e.prefix)
		if strings.HasPrefix(e.prefix, "*.") {
			rest = "" // a wildcard has no location to rewrite to
		} else {
			primary = endpointOf(e.location+rest, e.insecure)
		}
		primary.Insecure = e.insecure
		for _, m := range e.mirrors {
			mirror := endpointOf(m.location+rest, m.insecure)
			mirror.Mirror, mirror.Only = true, m.only
			list = append(list, mirror)
		}
	}
	hosts, err := containerdHosts(p, host, repository)
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		if h.Mirror {
			list = append(list, h)
		} else if h.Scheme != "" { // a server is named
			primary = h
		}
	}
	list = append(list, primary)
	for i := range list {
		if err := list[i].certificates(p); err != nil {
			return nil, err
		}
		if list[i].Host == "docker.io" {
			list[i].Host = "registry-1.docker.io"
		}
	}
	return list, nil
}

// match finds the entry with the longest prefix of a name.
func (c *Config) match(name string) *entry {
	var best *entry
	for i, e := range c.entries {
		if covers(e.prefix, name) && (best == nil || len(e.prefix) > len(best.prefix)) {
			best = &c.entries[i]
		}
	}
	return best
}

func covers(prefix, name string) bool {
	if domain, ok := strings.CutPrefix(prefix, "*"); ok {
		host, _, _ := strings.Cut(name, "/")
		return strings.HasPrefix(domain, ".") && strings.HasSuffix(host, domain)
	}
	rest, ok := strings.CutPrefix(name, prefix)
	return ok && (rest == "" || strings.ContainsAny(rest[:1], "/:@"))
}

func endpointOf(name string, insecure bool) Endpoint {
	host, repository, _ := strings.Cut(name, "/")
	return Endpoint{Host: host, Repository: repository, Insecure: insecure}
}

// certificates adds what certs.d holds for a host: *.crt of authorities, and
// *.cert with *.key of the client, as docker and podman have it.
func (e *Endpoint) certificates(p Places) error {
	for _, dir := range p.certDirs(e.Host) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		if err != nil {
			return err
		}
		for _, f := range entries {
			path := filepath.Join(dir, f.Name())
			switch filepath.Ext(path) {
			case ".crt":
				e.CAs = append(e.CAs, path)
			case ".cert":
				key := strings.TrimSuffix(path, ".cert") + ".key"
				if !fileExists(key) {
					return fmt.Errorf("%s: its key %s is missing", path, key)
				}
				e.Pairs = append(e.Pairs, [2]string{path, key})
			}
		}
	}
	return nil
}

func (p Places) certDirs(host string) []string {
	var list []string
	for _, d := range []string{p.config(), p.Etc} {
		if d != "" {
			list = append(list, filepath.Join(d, "containers", "certs.d", host), filepath.Join(d, "docker", "certs.d", host))
		}
	}
	if d := p.home(".docker"); d != "" {
		list = append(list, filepath.Join(d, "certs.d", host))
	}
	return list
}

// containerdHosts reads hosts.toml for a host, or the one for all hosts. The
// registry itself is the last in the list.
func containerdHosts(p Places, host, repository string) ([]Endpoint, error) {
	var names []string
	if name, port, ok := strings.Cut(host, ":"); ok {
		names = append(names, host, name+"_"+port+"_", name)
	} else {
		names = append(names, host)
	}
	names = append(names, "_default")
	for _, d := range []string{p.config(), p.Etc} {
		if d == "" {
			continue
		}
		for _, n := range names {
			file := filepath.Join(d, "containerd", "certs.d", n, "hosts.toml")
			text, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				continue
			}
			if err != nil {
				return nil, err
			}
			list, err := readHosts(string(text), filepath.Dir(file), host, repository)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			return list, nil
		}
	}
	return nil, nil
}

func readHosts(text, dir, host, repository string) ([]Endpoint, error) {
	t, err := parseTOML(text)
	if err != nil {
		return nil, err
	}
	var list []Endpoint
	hosts := t.sub("host")
	for _, name := range inOrder(text, hosts) {
		e, err := hostEndpoint(name, hosts.sub(name), dir, repository)
		if err != nil {
			return nil, err
		}
		if c := hosts.sub(name).texts("capabilities"); len(c) > 0 && !slices.Contains(c, "pull") {
			continue
		}
		e.Mirror = true
		list = append(list, e)
	}
	server := t.text("server")
	if server == "" {
		return append(list, Endpoint{Host: host, Repository: repository}), nil
	}
	e, err := hostEndpoint(server, t, dir, repository)
	return append(list, e), err
}

// inOrder gives the hosts in the order of the file, which is the order of
// trying.
func inOrder(text string, hosts table) []string {
	var names []string
	for name := range hosts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return strings.Index(text, a) - strings.Index(text, b) })
	return names
}

func hostEndpoint(address string, t table, dir, repository string) (Endpoint, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return Endpoint{}, err
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return Endpoint{}, fmt.Errorf("host %q", address)
	}
	e := Endpoint{Host: u.Host, Repository: repository, Scheme: u.Scheme, Insecure: t.truth("skip_verify")}
	if path := strings.TrimSuffix(u.Path, "/"); t.truth("override_path") {
		e.Path = path
	} else if e.Path = path; !strings.HasSuffix(path, "/v2") {
		e.Path = path + "/v2"
	}
	for _, ca := range t.texts("ca") {
		e.CAs = append(e.CAs, beside(dir, ca))
	}
	e.Pairs = clientPairs(t["client"], dir)
	if h := t.sub("header"); len(h) > 0 {
		e.Header = map[string][]string{}
		for k := range h {
			e.Header[k] = h.texts(k)
		}
	}
	return e, nil
}

func beside(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// clientPairs reads "client": a file, files, or pairs of certificate and key.
func clientPairs(v any, dir string) [][2]string {
	if s, ok := v.(string); ok {
		return [][2]string{{beside(dir, s), beside(dir, s)}}
	}
	var pairs [][2]string
	list, _ := v.([]any)
	for _, item := range list {
		switch item := item.(type) {
		case string:
			pairs = append(pairs, [2]string{beside(dir, item), beside(dir, item)})
		case []any:
			t := table{"pair": item}
			if p := t.texts("pair"); len(p) == 2 {
				pairs = append(pairs, [2]string{beside(dir, p[0]), beside(dir, p[1])})
			}
		}
	}
	return pairs
}
