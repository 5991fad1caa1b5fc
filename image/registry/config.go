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
// files that docker login and podman login write. getenv is the environment.
// The files are read when a registry first asks. Only entries with a password
// are used; credential helpers are not run.
func FileAuth(getenv func(string) string) func(host, repository string) (Credential, error) {
	return func(host, repository string) (Credential, error) {
		for _, path := range authFiles(getenv) {
			auths, err := readAuths(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return Credential{}, err
			}
			if c, ok, err := lookup(auths, host, repository); err != nil || ok {
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

func readAuths(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Auths map[string]struct {
			Auth string `json:"auth"`
		} `json:"auths"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	auths := map[string]string{}
	for key, a := range file.Auths {
		if a.Auth != "" {
			auths[normalKey(key)] = a.Auth
		}
	}
	return auths, nil
}

// normalKey strips what docker adds to the name of a registry.
func normalKey(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	key = strings.TrimSuffix(key, "/")
	key = strings.TrimSuffix(strings.TrimSuffix(key, "/v1"), "/v2")
	if key == "index.docker.io" {
		return "docker.io"
	}
	return key
}

// lookup finds the entry for a repository, or for one of the namespaces that
// it is in, the longest first.
func lookup(auths map[string]string, host, repository string) (Credential, bool, error) {
	for key := host + "/" + repository; ; {
		if auth, ok := auths[key]; ok {
			text, err := base64.StdEncoding.DecodeString(auth)
			if err != nil {
				return Credential{}, false, fmt.Errorf("entry of %s: %w", key, err)
			}
			user, password, ok := strings.Cut(strings.TrimRight(string(text), "\x00"), ":")
			if !ok {
				return Credential{}, false, fmt.Errorf("entry of %s: no password", key)
			}
			return Credential{Username: user, Password: password}, true, nil
		}
		i := strings.LastIndexByte(key, '/')
		if i < 0 {
			return Credential{}, false, nil
		}
		key = key[:i]
	}
}
