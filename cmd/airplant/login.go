//go:build !small

package main

import (
	"errors"

	"airplant/image"

	"github.com/go-json-experiment/json"
)

type loginCmd struct {
	Username      string `short:"u" help:"Name of the user; asked for where missing." placeholder:"NAME"`
	Password      string `short:"p" help:"Password. Others can see it in the list of processes: better is --password-stdin." placeholder:"PASSWORD"`
	PasswordStdin bool   `name:"password-stdin" help:"Read the password from standard input."`
	Registry      string `arg:"" optional:"" default:"docker.io" help:"Registry, docker.io where missing."`
}

func (c *loginCmd) Run(e *env) error {
	if c.Password != "" && c.PasswordStdin {
		return errors.New("--password and --password-stdin exclude each other")
	}
	host, err := registryHost(c.Registry)
	if err != nil {
		return err
	}
	return e.ask("login", image.LoginRequest{Host: host, Username: c.Username, Password: c.Password, PasswordStdin: c.PasswordStdin})
}

type logoutCmd struct {
	All      bool   `short:"a" help:"Forget the logins to all registries."`
	Registry string `arg:"" optional:"" default:"docker.io" help:"Registry, docker.io where missing."`
}

func (c *logoutCmd) Run(e *env) error {
	if c.All {
		return e.ask("logout", image.LoginRequest{})
	}
	host, err := registryHost(c.Registry)
	if err != nil {
		return err
	}
	return e.ask("logout", image.LoginRequest{Host: host})
}

// registryHost is the registry that a person means by a host, a URL or a
// repository.
func registryHost(s string) (string, error) {
	host, ok := image.RegistryHost(s)
	if !ok {
		return "", errors.New("registry " + s + ": not the name of one")
	}
	return host, nil
}

// ask runs an errand with a request.
func (e *env) ask(verb string, request any) error {
	text, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return e.errand(verb, string(text))
}
