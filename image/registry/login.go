package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Login checks a credential with a registry and writes it down where [FileAuth]
// finds it, by a helper if one is configured. It tells where.
func (w *World) Login(ctx context.Context, host string, c Credential) (where string, err error) {
	host = normalKey(host)
	trial := &World{
		places: w.places, load: w.load, clients: map[string]*Client{},
		auth: func(string, string) (Credential, error) { return c, nil },
	}
	r, err := trial.Repository(ctx, host, "login")
	if err != nil {
		return "", err
	}
	defer trial.Close()
	if err := r.Ping(ctx); err != nil {
		return "", err
	}
	return writeAuth(w.places.Getenv, host, &c)
}

// Logout forgets the credential of a registry, or of all for "". It tells of
// how many.
func Logout(getenv func(string) string, host string) (int, error) {
	forgotten := 0
	for _, path := range authFiles(getenv) {
		file, err := readAuths(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return forgotten, err
		}
		n, err := file.forget(normalKey(host))
		forgotten += n
		if err != nil {
			return forgotten, err
		}
	}
	return forgotten, nil
}

func (f *authFile) forget(host string) (int, error) {
	n := 0
	for key := range f.auths {
		if host == "" || key == host {
			n++
		}
	}
	if name := f.helperOf(host); name != "" && host != "" {
		if _, ok, err := helperGet(name, host); err == nil && ok {
			if err := helperErase(name, host); err != nil {
				return n, err
			}
			n++
		}
	}
	if n == 0 {
		return 0, nil
	}
	return n, editAuths(f.path, func(auths map[string]json.RawMessage) error {
		for key := range auths {
			if host == "" || normalKey(key) == host {
				delete(auths, key)
			}
		}
		return nil
	})
}

func (f *authFile) helperOf(host string) string {
	if name := f.helpers[host]; name != "" {
		return name
	}
	return f.store
}

// loginFile is where a login is written: the file that is set, else one that
// lasts over a reboot and that podman and skopeo read, too.
func loginFile(getenv func(string) string) (string, error) {
	switch {
	case getenv("REGISTRY_AUTH_FILE") != "":
		return getenv("REGISTRY_AUTH_FILE"), nil
	case getenv("XDG_CONFIG_HOME") != "":
		return filepath.Join(getenv("XDG_CONFIG_HOME"), "containers", "auth.json"), nil
	case getenv("HOME") != "":
		return filepath.Join(getenv("HOME"), ".config", "containers", "auth.json"), nil
	}
	return "", errors.New("neither HOME nor REGISTRY_AUTH_FILE is set")
}

func writeAuth(getenv func(string) string, host string, c *Credential) (string, error) {
	for _, path := range authFiles(getenv) {
		file, err := readAuths(path)
		if err != nil {
			continue
		}
		if name := file.helperOf(host); name != "" {
			err := helperStore(name, host, *c)
			if !errors.Is(err, errNoHelper) || file.helpers[host] != "" {
				return "docker-credential-" + name, err
			}
		}
	}
	path, err := loginFile(getenv)
	if err != nil {
		return "", err
	}
	text := base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password))
	entry, err := json.Marshal(authEntry{Auth: text})
	if err != nil {
		return "", err
	}
	return path, editAuths(path, func(auths map[string]json.RawMessage) error {
		for key := range auths {
			if normalKey(key) == host {
				delete(auths, key)
			}
		}
		auths[host] = entry
		return nil
	})
}

// editAuths changes the entries of a file and leaves all else in it alone.
func editAuths(path string, edit func(map[string]json.RawMessage) error) error {
	file := map[string]json.RawMessage{}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &file)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", path, err)
	}
	auths := map[string]json.RawMessage{}
	if old := file["auths"]; old != nil {
		if err := json.Unmarshal(old, &auths); err != nil {
			return fmt.Errorf("%s: auths: %w", path, err)
		}
	}
	if err := edit(auths); err != nil {
		return err
	}
	if file["auths"], err = json.Marshal(auths); err != nil {
		return err
	}
	if text, err = json.MarshalIndent(file, "", "\t"); err != nil {
		return err
	}
	return writePrivate(path, append(text, '\n'))
}

// writePrivate replaces a file that nobody else may read, at once. A link to
// it, as people keep their settings elsewhere, stays one.
func writePrivate(path string, text []byte) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".auth-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
