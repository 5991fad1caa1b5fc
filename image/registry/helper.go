package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Credential helpers are programs docker-credential-NAME with a verb as their
// argument: get reads a registry's name and prints a credential, store reads
// one, erase reads a name (the protocol of docker-credential-helpers).

// helperTime bounds a helper, which may ask a person for a passphrase.
const helperTime = 2 * time.Minute

// userToken is the name by which a helper tells that the secret is an identity
// token.
const userToken = "<token>"

var errNoHelper = errors.New("the program is not installed")

// serverName is what docker calls a registry when it speaks to helpers.
func serverName(host string) string {
	if host == "docker.io" {
		return "https://index.docker.io/v1/"
	}
	return host
}

type helperCredential struct {
	ServerURL string
	Username  string
	Secret    string
}

func helperGet(name, host string) (Credential, bool, error) {
	out, err := runHelper(name, "get", serverName(host))
	if err != nil {
		if strings.Contains(strings.ToLower(out), "not found in native keychain") {
			return Credential{}, false, nil
		}
		return Credential{}, false, err
	}
	var c helperCredential
	if err := json.Unmarshal([]byte(out), &c); err != nil {
		return Credential{}, false, fmt.Errorf("docker-credential-%s: %w", name, err)
	}
	if c.Username == userToken {
		return Credential{Identity: c.Secret}, true, nil
	}
	return Credential{Username: c.Username, Password: c.Secret}, c.Username != "", nil
}

func helperStore(name, host string, c Credential) error {
	text, err := json.Marshal(helperCredential{serverName(host), c.Username, c.Password})
	if err != nil {
		return err
	}
	_, err = runHelper(name, "store", string(text))
	return err
}

func helperErase(name, host string) error {
	_, err := runHelper(name, "erase", serverName(host))
	return err
}

func runHelper(name, verb, input string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return "", fmt.Errorf("credential helper %q: not a name", name)
	}
	program := "docker-credential-" + name
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s: %w", program, errNoHelper)
	}
	ctx, cancel := context.WithTimeout(context.Background(), helperTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, verb)
	cmd.WaitDelay = time.Second
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stdout.String() + " " + stderr.String()) // get reports on stdout
		if verb != "get" {
			said = strings.TrimSpace(stderr.String())
		}
		return said, fmt.Errorf("%s %s: %w: %s", program, verb, err, printable(said))
	}
	return stdout.String(), nil
}
