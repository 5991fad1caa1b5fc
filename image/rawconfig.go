package image

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// rawConfig is a configuration of which fields are kept that the image-spec
// does not know.
type rawConfig struct {
	top    map[string]json.RawMessage
	config map[string]json.RawMessage
	rootfs v1.RootFS
	steps  []v1.History
}

// emptyConfig is that of an image without layers.
func emptyConfig(p v1.Platform) *rawConfig {
	c := &rawConfig{top: map[string]json.RawMessage{}, config: map[string]json.RawMessage{}, rootfs: v1.RootFS{Type: "layers"}}
	c.set(c.top, "os", p.OS)
	c.set(c.top, "architecture", p.Architecture)
	if p.Variant != "" {
		c.set(c.top, "variant", p.Variant)
	}
	return c
}

func parseRawConfig(text []byte) (*rawConfig, error) {
	c := &rawConfig{config: map[string]json.RawMessage{}}
	if err := json.Unmarshal(text, &c.top); err != nil {
		return nil, unsupportedf("configuration: %v", err)
	}
	for key, to := range map[string]any{"config": &c.config, "rootfs": &c.rootfs, "history": &c.steps} {
		if raw, ok := c.top[key]; ok {
			if err := json.Unmarshal(raw, to); err != nil {
				return nil, unsupportedf("configuration: %s: %v", key, err)
			}
		}
	}
	if c.config == nil { // null
		c.config = map[string]json.RawMessage{}
	}
	return c, nil
}

// set sets a field to a value that JSON can hold.
func (c *rawConfig) set(in map[string]json.RawMessage, key string, value any) {
	if text, err := json.Marshal(value); err == nil {
		in[key] = text
	}
}

// get reads a field of the config object; what it cannot read stays empty.
func get[T any](c *rawConfig, key string) (v T) {
	_ = json.Unmarshal(c.config[key], &v) //nolint:errcheck // of an image: nothing better than nothing
	return v
}

// commit notes the new layer, if there is one, and who made it.
func (c *rawConfig) commit(o CommitOptions, diffID digest.Digest) {
	created := o.Created.UTC()
	if diffID != "" {
		c.rootfs.DiffIDs = append(c.rootfs.DiffIDs, diffID)
	}
	c.steps = append(c.steps, v1.History{
		Created: &created, CreatedBy: o.Command, Author: o.Author, Comment: o.Message, EmptyLayer: diffID == "",
	})
	c.set(c.top, "created", created.Format(time.RFC3339Nano))
	if o.Author != "" {
		c.set(c.top, "author", o.Author)
	}
	// docker's fields of the container that made the image it was based on.
	for _, key := range []string{"container", "container_config", "id", "parent", "throwaway"} {
		delete(c.top, key)
	}
}

func (c *rawConfig) encode() ([]byte, error) {
	if c.rootfs.DiffIDs == nil {
		c.rootfs.DiffIDs = []digest.Digest{}
	}
	c.set(c.top, "config", c.config)
	c.set(c.top, "rootfs", c.rootfs)
	c.set(c.top, "history", c.steps)
	return json.Marshal(c.top)
}

// apply takes over what a container was started with, and then instructions.
func (c *rawConfig) apply(with *v1.ImageConfig, changes []string) error {
	if with != nil {
		c.overlay(with)
	}
	for _, line := range changes {
		if err := c.change(line); err != nil {
			return err
		}
	}
	return nil
}

func (c *rawConfig) overlay(with *v1.ImageConfig) {
	if with.Entrypoint != nil {
		c.set(c.config, "Entrypoint", with.Entrypoint)
		delete(c.config, "Cmd")
	}
	if with.Cmd != nil {
		c.set(c.config, "Cmd", with.Cmd)
	}
	if with.User != "" {
		c.set(c.config, "User", with.User)
	}
	if with.WorkingDir != "" {
		c.set(c.config, "WorkingDir", with.WorkingDir)
	}
	for _, e := range with.Env {
		c.setEnv(e)
	}
	for k, v := range with.Labels {
		c.setIn("Labels", k, v)
	}
}

func (c *rawConfig) setEnv(entry string) {
	name, _, _ := strings.Cut(entry, "=")
	env := get[[]string](c, "Env")
	at := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	if at < 0 {
		env = append(env, entry)
	} else {
		env[at] = entry
	}
	c.set(c.config, "Env", env)
}

// setIn sets a key of a map.
func (c *rawConfig) setIn(field, key string, value any) {
	m := maps.Clone(get[map[string]any](c, field))
	if m == nil {
		m = map[string]any{}
	}
	m[key] = value
	c.set(c.config, field, m)
}
