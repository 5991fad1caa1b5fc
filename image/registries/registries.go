// Package registries reads what a machine's administrator and its users have
// written down about registries, in the files of podman, docker and
// containerd: short names (registries.conf), mirrors and insecure registries
// (registries.conf, hosts.toml), certificates (certs.d).
//
// It speaks to nobody and links no HTTP, so that the command line can look a
// short name up. Credentials are read by package registry.
//
// Not done here: version 1 of registries.conf is refused; credential-helpers
// and the v1 keys of registries.conf, and dial_timeout and the like of
// hosts.toml are ignored.
package registries

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Places are the directories in which configuration is looked for, by the
// environment of a user.
type Places struct {
	Getenv func(string) string
	// Etc is /etc, or another directory in tests.
	Etc string
}

// config is the user's configuration directory, "" if there is none.
func (p Places) config() string {
	if d := p.Getenv("XDG_CONFIG_HOME"); d != "" {
		return d
	}
	return p.home(".config")
}

func (p Places) home(name string) string {
	if h := p.Getenv("HOME"); h != "" {
		return filepath.Join(h, name)
	}
	return ""
}

// Config is the content of registries.conf and its drop-ins.
type Config struct {
	search  []string
	aliases map[string]string
	entries []entry
}

// entry is a [[registry]] of registries.conf.
type entry struct {
	prefix   string
	location string
	insecure bool
	blocked  bool
	only     string // mirror-by-digest-only and the like: "", "digest-only", "tag-only"
	mirrors  []entry
}

// Load reads registries.conf: the user's instead of the system's, then the
// drop-ins of both, then the aliases that podman wrote down.
func Load(p Places) (*Config, error) {
	c := &Config{aliases: map[string]string{}}
	for _, f := range p.files() {
		text, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := c.add(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
	}
	return c, nil
}

func (p Places) files() []string {
	if f := p.Getenv("CONTAINERS_REGISTRIES_CONF"); f != "" {
		return []string{f}
	}
	var list []string
	main := filepath.Join(p.Etc, "containers", "registries.conf")
	if d := p.config(); d != "" {
		if own := filepath.Join(d, "containers", "registries.conf"); fileExists(own) {
			main = own
		}
	}
	list = append(list, main)
	for _, d := range []string{p.Etc, p.config()} {
		if d == "" {
			continue
		}
		drops, err := filepath.Glob(filepath.Join(d, "containers", "registries.conf.d", "*.conf"))
		if err == nil { // it is not the pattern
			list = append(list, drops...)
		}
	}
	cache := p.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = p.home(".cache")
	}
	if cache != "" {
		list = append(list, filepath.Join(cache, "containers", "short-name-aliases.conf"))
	}
	return list
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (c *Config) add(text string) error {
	t, err := parseTOML(text)
	if err != nil {
		return err
	}
	if _, old := t["registries"]; old {
		return errors.New("version 1 of the format, with [registries.search], is not supported; see containers-registries.conf(5)")
	}
	if _, ok := t["unqualified-search-registries"]; ok {
		c.search = t.texts("unqualified-search-registries")
	}
	for name := range t.sub("aliases") {
		c.aliases[name] = t.sub("aliases").text(name)
	}
	for _, r := range t.tables("registry") {
		e := readEntry(r)
		if e.prefix == "" {
			if e.prefix = e.location; e.prefix == "" {
				return errors.New("a registry with neither prefix nor location")
			}
		}
		if e.location == "" {
			e.location = e.prefix
		}
		byDigest := r.truth("mirror-by-digest-only")
		for _, m := range r.tables("mirror") {
			mirror := readEntry(m)
			if mirror.location == "" {
				return fmt.Errorf("registry %s: a mirror without location", e.prefix)
			}
			if mirror.only = m.text("pull-from-mirror"); byDigest {
				mirror.only = "digest-only"
			}
			e.mirrors = append(e.mirrors, mirror)
		}
		c.entries = slices.DeleteFunc(c.entries, func(old entry) bool { return old.prefix == e.prefix })
		c.entries = append(c.entries, e)
	}
	return nil
}

func readEntry(t table) entry {
	return entry{
		prefix: t.text("prefix"), location: t.text("location"),
		insecure: t.truth("insecure"), blocked: t.truth("blocked"),
	}
}

// Candidates gives the full names that a short one may stand for, the likeliest
// first, without tag and digest: an alias, else one in each registry that is
// searched, else nothing: it then belongs to docker.io.
func (c *Config) Candidates(name string) []string {
	if full := c.aliases[name]; full != "" {
		return []string{full}
	}
	var list []string
	for _, host := range c.search {
		if host == "docker.io" && !strings.Contains(name, "/") {
			list = append(list, host+"/library/"+name)
			continue
		}
		list = append(list, host+"/"+name)
	}
	return list
}

// Expand gives the full references for one that names no registry, and the
// reference itself otherwise.
func (c *Config) Expand(reference string) []string {
	name, rest := reference, ""
	if i := strings.IndexByte(name, '@'); i >= 0 {
		name, rest = name[:i], name[i:]
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, rest = name[:i], name[i:]+rest
	}
	list := c.Candidates(name)
	if !IsShort(reference) || len(list) == 0 {
		return []string{reference}
	}
	for i := range list {
		list[i] += rest
	}
	return list
}

// IsShort tells whether a reference names neither a registry nor a transport.
func IsShort(reference string) bool {
	first, _, slash := strings.Cut(reference, "/")
	if !slash {
		name, _, _ := strings.Cut(first, "@")
		switch transport, _, _ := strings.Cut(name, ":"); transport {
		case "oci", "oci-archive", "docker-archive", "dir", "docker":
			return false
		}
		return name != ""
	}
	return first != "" && !strings.ContainsAny(first, ".:[") && first != "localhost" && strings.ToLower(first) == first
}
