package image

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// defaultPath is what docker and podman set when an image says nothing.
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Overrides are what a person asked for in place of the image's defaults.
type Overrides struct {
	// Entrypoint replaces the image's, and drops its Cmd. An empty list
	// that is not nil means none.
	Entrypoint []string
	Args       []string // replace Cmd, unless empty
	Env        []string // KEY=VALUE, win over the image's
	WorkingDir string
	User       string
}

// Apply sets in a runtime spec what the image's configuration says, by the
// image-spec's conversion.md: process args, env, cwd and user, and
// annotations. It adds to env and annotations and replaces the rest; root,
// mounts and everything else stay as they are (see [Image.Volumes]). The
// user's HOME is added to env if it is not there.
//
// Labels become annotations as the image-spec wants it, except for those that
// would steer a runtime: an image does not configure its own confinement.
func (i *Image) Apply(spec *specs.Spec, o Overrides) error {
	if spec.Process == nil {
		spec.Process = &specs.Process{}
	}
	c, p := i.Config.Config, spec.Process
	var err error
	if p.Args, err = command(c, o); err != nil {
		return &Error{Op: "configure", Ref: i.Name, Err: err, Hint: "give a command after the image"}
	}
	name := c.User
	if o.User != "" {
		name = o.User
	}
	user, err := LookupUser(i.Open, name)
	if err != nil {
		return &Error{Op: "configure", Ref: i.Name, Err: err}
	}
	p.User.UID, p.User.GID, p.User.AdditionalGids = user.UID, user.GID, user.Additional
	env := mergeEnv([]string{defaultPath, "HOME=" + user.Home}, c.Env)
	p.Env = mergeEnv(mergeEnv(env, p.Env), o.Env)
	if p.Cwd, err = workingDir(c.WorkingDir, o.WorkingDir); err != nil {
		return &Error{Op: "configure", Ref: i.Name, Err: err}
	}
	if spec.Annotations == nil {
		spec.Annotations = map[string]string{}
	}
	annotate(spec.Annotations, i.Config)
	return nil
}

func command(c v1.ImageConfig, o Overrides) ([]string, error) {
	entry, args := c.Entrypoint, c.Cmd
	if o.Entrypoint != nil {
		entry, args = o.Entrypoint, nil
	}
	if len(o.Args) > 0 {
		args = o.Args
	}
	line := slices.Concat(entry, args)
	if len(line) == 0 {
		return nil, ErrNoCommand
	}
	for _, a := range line {
		if strings.ContainsRune(a, 0) {
			return nil, errors.New("an argument contains a zero byte")
		}
	}
	return line, nil
}

// mergeEnv adds entries to an environment; a later one of the same name wins
// and keeps the place. Entries of an image without a name or "=" are dropped:
// they never take a value from this process's environment.
func mergeEnv(env, add []string) []string {
	out := slices.Clone(env)
	for _, e := range add {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || strings.ContainsRune(e, 0) {
			continue
		}
		at := slices.IndexFunc(out, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		if at < 0 {
			out = append(out, e)
		} else {
			out[at] = e
		}
	}
	return out
}

func workingDir(image, override string) (string, error) {
	dir := image
	if override != "" {
		dir = path.Join("/", image, override)
		if strings.HasPrefix(override, "/") {
			dir = override
		}
	}
	if strings.ContainsRune(dir, 0) {
		return "", errors.New("the working directory contains a zero byte")
	}
	return path.Clean("/" + dir), nil
}

// steering are prefixes of annotations by which engines and runtimes are
// configured.
var steering = []string{"org.systemd.property.", "run.oci.", "io.podman.annotations.", "io.kubernetes.cri", "airplant."}

func annotate(to map[string]string, c v1.Image) {
	set := func(key, value string) {
		if value != "" {
			to["org.opencontainers.image."+key] = value
		}
	}
	set("os", c.OS)
	set("architecture", c.Architecture)
	set("variant", c.Variant)
	set("os.version", c.OSVersion)
	set("os.features", strings.Join(c.OSFeatures, ","))
	set("author", c.Author)
	if c.Created != nil {
		set("created", c.Created.Format(time.RFC3339Nano))
	}
	set("stopSignal", c.Config.StopSignal)
	set("exposedPorts", strings.Join(slices.Sorted(maps.Keys(c.Config.ExposedPorts)), ","))
	for k, v := range c.Config.Labels {
		if k != "" && !slices.ContainsFunc(steering, func(p string) bool { return strings.HasPrefix(k, p) }) {
			to[k] = v
		}
	}
}

// Volumes lists where the image wants volumes, as clean absolute paths, for
// the caller to mount something there. The root and what a container mounts
// itself (/proc, /sys, /dev) are refused.
func (i *Image) Volumes() ([]string, error) {
	var list []string
	for v := range i.Config.Config.Volumes {
		clean := path.Clean("/" + v)
		top, _, _ := strings.Cut(clean[1:], "/")
		if slices.Contains([]string{"", "proc", "sys", "dev"}, top) || strings.ContainsRune(v, 0) {
			return nil, &Error{Op: "configure", Ref: i.Name, Err: fmt.Errorf("volume at %q: refused", v)}
		}
		list = append(list, clean)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
