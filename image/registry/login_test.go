package registry

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogin logs in, is found by a pull, and logs out; what else the file holds
// stays.
func TestLogin(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == basicHeader(secret) {
			w.WriteHeader(http.StatusOK)
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	home := t.TempDir()
	env := map[string]string{"HOME": home}
	getenv := func(k string) string { return env[k] }
	path := filepath.Join(home, ".config/containers/auth.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"auths":{"other":{"auth":"YTpi"}},"credHelpers":{"x":"y"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w := NewWorld(getenv, home)
	if _, err := w.Login(t.Context(), s.host(), Credential{Username: "user", Password: "wrong"}); err == nil {
		t.Error("a wrong password was accepted")
	}
	if where, err := w.Login(t.Context(), s.host(), secret); err != nil || where != path {
		t.Fatalf("%s, %v", where, err)
	}
	if got, err := FileAuth(getenv)(s.host(), "a/b"); err != nil || got != secret {
		t.Errorf("got %v, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if n, err := Logout(getenv, s.host()); n != 1 || err != nil {
		t.Errorf("logout: %d, %v", n, err)
	}
	if n, err := Logout(getenv, s.host()); n != 0 || err != nil {
		t.Errorf("second logout: %d, %v", n, err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "YTpi") || !strings.Contains(string(text), "credHelpers") {
		t.Errorf("left %s, %v", text, err)
	}
}

// TestHelper keeps a password in a program, and takes an identity token from it.
func TestHelper(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nread -r in || true\ncase $1 in\nstore) echo \"$in\" >" + dir + "/kept;;\nget) if [ \"$in\" = token.example ]; then echo '{\"Username\":\"<token>\",\"Secret\":\"idt\"}'; elif [ -f " + dir + "/kept ]; then cat " + dir + "/kept; else echo 'credentials not found in native keychain'; exit 1; fi;;\nerase) rm " + dir + "/kept;;\nesac\n"
	if err := os.WriteFile(dir+"/docker-credential-box", []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if err := os.WriteFile(dir+"/config.json", []byte(`{"auths":{},"credsStore":"box"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"HOME": dir, "DOCKER_CONFIG": dir}
	getenv := func(k string) string { return env[k] }
	if c, err := FileAuth(getenv)("r.example", "a"); err != nil || c != (Credential{}) {
		t.Errorf("empty: %v, %v", c, err)
	}
	if where, err := writeAuth(getenv, "r.example", &secret); err != nil || where != "docker-credential-box" {
		t.Errorf("store: %s, %v", where, err)
	}
	if c, err := FileAuth(getenv)("r.example", "a"); err != nil || c != secret {
		t.Errorf("get: %v, %v", c, err)
	}
	if c, err := FileAuth(getenv)("token.example", "a"); err != nil || c.Identity != "idt" {
		t.Errorf("token: %v, %v", c, err)
	}
	if n, err := Logout(getenv, "r.example"); n != 1 || err != nil {
		t.Errorf("erase: %d, %v", n, err)
	}
	if err := os.WriteFile(dir+"/config.json", []byte(`{"credsStore":"desktop","credHelpers":{"h.example":"none"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := FileAuth(getenv)("r.example", "a"); err != nil || c != (Credential{}) {
		t.Errorf("a store that is not installed: %v, %v", c, err)
	}
	if _, err := FileAuth(getenv)("h.example", "a"); err == nil {
		t.Error("a helper that is not installed was passed over")
	}
}

// TestIdentityToken swaps an identity token for one of the registry.
func TestIdentityToken(t *testing.T) {
	tokens := newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost || r.FormValue("refresh_token") != "idt" || r.FormValue("scope") != "repository:a/b:pull" || r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		_, _ = w.Write([]byte(`{"access_token":"T0KEN"}`))
		return true
	})
	s := newServer(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == "Bearer T0KEN" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokens.URL+`/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	_, _, err := client(t, Credential{Identity: "idt"}).Repository(s.host(), "a/b").Manifest(t.Context(), "tag", nil)
	if err != nil {
		t.Error(err)
	}
}
