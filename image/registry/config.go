package registry

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FileAuth returns a function for [New] that looks credentials up in the
// files that docker login and podman login write, and asks the helpers that
// they name. getenv is the environment. The files are read when a registry
// first asks.
func FileAuth(getenv func(string) string) func(host, repository string) (Credential, error) {
	return func(host, repository string) (Credential, error) {
		for _, path := range authFiles(getenv) {
			file, err := readAuths(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return Credential{}, err
			}
			if c, ok, err := file.lookup(host, repository); err != nil || ok {
				return c, err
			}
		}
		return Credential{}, nil
	}
}

// authFiles lists where credentials may be, the most specific place first.
func authFiles(getenv func(string) string) []string {
	if f := getenv("REGISTRY_AUTH_FILE"); f != "" {
		return []string{f}
	}
	var list []string
	add := func(dir string, rest ...string) {
		if dir != "" {
			list = append(list, filepath.Join(append([]string{dir}, rest...)...))
		}
	}
	home := getenv("HOME")
	add(getenv("XDG_RUNTIME_DIR"), "containers", "auth.json")
	add(getenv("XDG_CONFIG_HOME"), "containers", "auth.json")
	add(home, ".config", "containers", "auth.json")
	add(getenv("DOCKER_CONFIG"), "config.json")
	add(home, ".docker", "config.json")
	return list
}

// authFile is config.json of docker, or auth.json of podman.
type authFile struct {
	path  string
	auths map[string]authEntry // by normal keys
	// helpers are programs by host; store is the one for all others.
	helpers map[string]string
	store   string
}

type authEntry struct {
	Auth          string `json:"auth,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
}

func readAuths(path string) (*authFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Auths       map[string]authEntry `json:"auths"`
		CredHelpers map[string]string    `json:"credHelpers"`
		CredsStore  string               `json:"credsStore"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f := &authFile{path: path, auths: map[string]authEntry{}, helpers: map[string]string{}, store: file.CredsStore}
	for key, a := range file.Auths {
		if a != (authEntry{}) {
			f.auths[normalKey(key)] = a
		}
	}
	for key, name := range file.CredHelpers {
		f.helpers[normalKey(key)] = name
	}
	return f, nil
}

// normalKey strips what docker adds to the name of a registry.
func normalKey(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	key = strings.TrimSuffix(key, "/")
	key = strings.TrimSuffix(strings.TrimSuffix(key, "/v1"), "/v2")
	if key == "index.docker.io" || key == "registry-1.docker.io" {
		return "docker.io"
	}
	return key
}

// lookup finds the credential for a repository: by a helper for its registry,
// else by the entry for one of the namespaces that it is in, the longest first.
func (f *authFile) lookup(host, repository string) (Credential, bool, error) {
	if name := f.helpers[host]; name != "" {
		return helperGet(name, host)
	}
	for key := host + "/" + repository; ; {
		if entry, ok := f.auths[key]; ok {
			c, err := entry.credential()
			if err != nil {
				err = fmt.Errorf("%s: entry of %s: %w", f.path, key, err)
			}
			return c, err == nil, err
		}
		i := strings.LastIndexByte(key, '/')
		if i < 0 {
			break
		}
		key = key[:i]
	}
	if f.store != "" {
		c, ok, err := helperGet(f.store, host)
		if errors.Is(err, errNoHelper) {
			return Credential{}, false, nil // a leftover of Docker Desktop, mostly
		}
		return c, ok, err
	}
	return Credential{}, false, nil
}

func (a authEntry) credential() (Credential, error) {
	c := Credential{Identity: a.IdentityToken}
	if a.Auth == "" {
		return c, nil
	}
	text, err := base64.StdEncoding.DecodeString(a.Auth)
	if err != nil {
		return Credential{}, err
	}
	user, password, ok := strings.Cut(strings.TrimRight(string(text), "\x00"), ":")
	if !ok {
		return Credential{}, errors.New("no password")
	}
	c.Username, c.Password = user, password
	return c, nil
}
