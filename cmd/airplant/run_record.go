package main

import (
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// changed is what the command line says otherwise than the image.
func (c *runCmd) changed(b *box) *v1.ImageConfig {
	if b.id == "" {
		return nil
	}
	config := &v1.ImageConfig{User: c.User, WorkingDir: c.Workdir, Entrypoint: c.entrypoint()}
	if config.WorkingDir != "" {
		config.WorkingDir = b.spec.Process.Cwd
	}
	if args := dropDashes(c.Args[1:]); len(args) > 0 {
		config.Cmd = args
	}
	for _, name := range c.Env {
		name, _, _ = strings.Cut(name, "=")
		for _, have := range b.spec.Process.Env {
			if strings.HasPrefix(have, name+"=") {
				config.Env = append(config.Env, have)
			}
		}
	}
	return config
}

// mountPoints lists where the container will have mounts.
func (c *runCmd) mountPoints(b *box) []string {
	var list []string
	for _, m := range b.spec.Mounts {
		list = append(list, m.Destination)
	}
	for _, name := range c.etcFiles() {
		list = append(list, "/etc/"+name)
	}
	return list
}
