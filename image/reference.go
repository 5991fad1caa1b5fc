package image

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Transport is where a reference points to.
type Transport string

// The transports.
const (
	Registry Transport = "docker"      // a registry
	Layout   Transport = "oci"         // a directory in OCI image layout
	Archive  Transport = "oci-archive" // the same in a tar file
)

// Reference names an image.
type Reference struct {
	Transport  Transport
	Host       string        // of a registry, perhaps with a port
	Repository string        // within the registry
	Tag        string        // also the name within a layout, where it may be empty
	Digest     digest.Digest // wins over the tag
	Path       string        // of a layout or archive
}

const (
	defaultHost = "docker.io"
	maxName     = 255 // of host and repository
	maxTag      = 128
)

// ParseReference reads the notation of docker and podman: NAME[:TAG][@DIGEST],
// oci:DIR[:TAG] and oci-archive:FILE[:TAG]. Short names belong to docker.io.
func ParseReference(s string) (Reference, error) {
	r, err := parseReference(s)
	if err != nil {
		return Reference{}, &Error{Op: "parse reference", Ref: s, Err: err}
	}
	return r, nil
}

func parseReference(s string) (Reference, error) {
	transport, rest, ok := strings.Cut(s, ":")
	if ok {
		switch Transport(transport) {
		case Layout, Archive:
			return parsePath(Transport(transport), rest)
		}
		switch transport {
		case "docker-archive", "docker-daemon", "dir", "containers-storage", "ostree", "http", "https":
			return Reference{}, fmt.Errorf("%s: is not supported", transport)
		}
	}
	return parseName(strings.TrimPrefix(s, "docker://"))
}

// parsePath splits at the first colon, as skopeo and umoci do: a name within
// a layout may contain colons, the path may not.
func parsePath(t Transport, s string) (Reference, error) {
	path, tag, ok := strings.Cut(s, ":")
	if path == "" {
		return Reference{}, errors.New("no path")
	}
	if ok && tag == "" {
		return Reference{}, errors.New("empty tag")
	}
	for _, c := range s {
		if c < ' ' || c == 0x7f {
			return Reference{}, errors.New("control character")
		}
	}
	if len(tag) > maxName || len(path) > 4095 {
		return Reference{}, errors.New("too long")
	}
	return Reference{Transport: t, Path: filepath.Clean(path), Tag: tag}, nil
}

func parseName(s string) (Reference, error) {
	r := Reference{Transport: Registry}
	name, dig, ok := strings.Cut(s, "@")
	if ok {
		r.Digest = digest.Digest(dig)
		if err := r.Digest.Validate(); err != nil {
			return r, err
		}
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, r.Tag = name[:i], name[i+1:]
		if !validTag(r.Tag) {
			return r, fmt.Errorf("tag %q", r.Tag)
		}
	} else if r.Digest == "" {
		r.Tag = "latest"
	}
	r.Host, r.Repository = splitHost(name)
	switch {
	case !validHost(r.Host):
		return r, fmt.Errorf("registry %q", r.Host)
	case !validRepository(r.Repository):
		if lower := strings.ToLower(r.Repository); validRepository(lower) {
			return r, fmt.Errorf("name %q must be lower case", r.Repository)
		}
		return r, fmt.Errorf("name %q", r.Repository)
	case len(r.Host)+1+len(r.Repository) > maxName:
		return r, fmt.Errorf("name of more than %d bytes", maxName)
	case isHex(name) && len(name) == 64:
		return r, errors.New("64 hexadecimal digits are an image id, not a name")
	}
	return r, nil
}

// splitHost tells a registry from the first part of a path, as docker does.
func splitHost(name string) (host, repository string) {
	first, rest, ok := strings.Cut(name, "/")
	if ok && (strings.ContainsAny(first, ".:[") || first == "localhost" || strings.ToLower(first) != first) {
		if first == "index.docker.io" || first == "registry-1.docker.io" {
			first = defaultHost
		}
		if first == defaultHost && !strings.Contains(rest, "/") {
			rest = "library/" + rest
		}
		return first, rest
	}
	if !ok {
		name = "library/" + name
	}
	return defaultHost, name
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

func isAlnum(c byte) bool { return isLower(c) || c >= 'A' && c <= 'Z' }

func isLower(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

func validTag(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' && (i == 0 || s[i] != '.' && s[i] != '-') {
			return false
		}
	}
	return s != "" && len(s) <= maxTag
}

func validHost(s string) bool {
	name, port := s, ""
	if rest, ok := strings.CutPrefix(s, "["); ok {
		var addr string
		if addr, port, ok = strings.Cut(rest, "]"); !ok || strings.Trim(addr, "0123456789abcdefABCDEF:") != "" || addr == "" {
			return false
		}
		name = "v6"
		if port != "" && port[0] != ':' {
			return false
		}
		port = strings.TrimPrefix(port, ":")
		if strings.HasSuffix(s, ":") {
			return false
		}
	} else if n, p, ok := strings.Cut(s, ":"); ok {
		if name, port = n, p; p == "" {
			return false
		}
	}
	if strings.Trim(port, "0123456789") != "" || len(port) > 5 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || !isAlnum(label[0]) || !isAlnum(label[len(label)-1]) {
			return false
		}
		for i := range len(label) {
			if !isAlnum(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

// validRepository checks a path of names that consist of lower case letters
// and digits, separated by ".", "_", "__" or any number of "-".
func validRepository(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || !isLower(part[0]) || !isLower(part[len(part)-1]) {
			return false
		}
		for i := 0; i < len(part); {
			end := i
			for end < len(part) && !isLower(part[end]) {
				end++
			}
			switch sep := part[i:end]; {
			case sep == "", sep == ".", sep == "_", sep == "__", strings.Trim(sep, "-") == "":
			default:
				return false
			}
			i = end + 1
		}
	}
	return true
}

// String is the canonical form, which names the image in the store.
func (r Reference) String() string {
	var s string
	switch {
	case r.Transport != Registry:
		s = string(r.Transport) + ":" + r.Path
	default:
		s = r.Host + "/" + r.Repository
		if r.Digest != "" {
			return s + "@" + string(r.Digest)
		}
	}
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	return s
}

// Absolute makes the path of a layout or archive absolute, so that the name
// means the same from any directory.
func (r Reference) Absolute() (Reference, error) {
	if r.Transport == Registry {
		return r, nil
	}
	path, err := filepath.Abs(r.Path)
	if err != nil {
		return r, err
	}
	r.Path = path
	return r, nil
}

// RegistryHost is the registry in what people give to login: a host, perhaps
// as a URL or with a repository.
func RegistryHost(s string) (string, bool) {
	s = strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	host, _, _ := strings.Cut(s, "/")
	if host == "index.docker.io" || host == "registry-1.docker.io" {
		host = defaultHost
	}
	return host, validHost(host)
}
