package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// change applies an instruction of a Dockerfile, as `commit --change` takes
// them.
func (c *rawConfig) change(line string) error {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	err := c.instruct(strings.ToUpper(word), rest)
	if err != nil {
		return fmt.Errorf("--change %q: %w", line, err)
	}
	return nil
}

var errNoValue = errors.New("a value is missing")

func (c *rawConfig) instruct(word, rest string) error {
	if rest == "" && word != "CMD" && word != "ENTRYPOINT" {
		return errNoValue
	}
	switch word {
	case "CMD":
		c.set(c.config, "Cmd", execForm(rest))
	case "ENTRYPOINT":
		c.set(c.config, "Entrypoint", execForm(rest))
	case "USER":
		c.set(c.config, "User", rest)
	case "STOPSIGNAL":
		c.set(c.config, "StopSignal", rest)
	case "WORKDIR":
		dir := rest
		if !path.IsAbs(dir) {
			dir = path.Join("/", get[string](c, "WorkingDir"), dir)
		}
		c.set(c.config, "WorkingDir", path.Clean(dir))
	case "ENV", "LABEL":
		return c.pairs(word, rest)
	case "EXPOSE":
		return c.expose(rest)
	case "VOLUME":
		list, ok := jsonList(rest)
		if !ok {
			list = strings.Fields(rest)
		}
		for _, v := range list {
			c.setIn("Volumes", v, struct{}{})
		}
	case "ONBUILD":
		c.set(c.config, "OnBuild", append(get[[]string](c, "OnBuild"), rest))
	case "HEALTHCHECK":
		return c.healthcheck(rest)
	default:
		return errors.New("want CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR")
	}
	return nil
}

// execForm reads ["a","b"], or a line for the shell.
func execForm(s string) []string {
	if list, ok := jsonList(s); ok {
		return list
	}
	if s == "" {
		return []string{}
	}
	return []string{"/bin/sh", "-c", s}
}

func jsonList(s string) ([]string, bool) {
	var list []string
	ok := strings.HasPrefix(s, "[") && json.Unmarshal([]byte(s), &list) == nil
	return list, ok
}

// pairs reads NAME=VALUE..., or NAME VALUE.
func (c *rawConfig) pairs(word, rest string) error {
	words, err := splitWords(rest)
	if err != nil {
		return err
	}
	if !strings.Contains(words[0], "=") {
		name, value, _ := strings.Cut(rest, " ")
		if words = []string{name + "=" + strings.TrimSpace(value)}; strings.TrimSpace(value) == "" {
			return errNoValue
		}
	}
	for _, w := range words {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q: want NAME=VALUE", w)
		}
		if word == "LABEL" {
			c.setIn("Labels", name, value)
		} else {
			c.setEnv(w)
		}
	}
	return nil
}

// splitWords splits at spaces, with quotes and backslashes as in a Dockerfile.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	rs := []rune(s)
	for n := 0; n < len(rs); n++ {
		r := rs[n]
		switch {
		case r == '\\' && quote != '\'' && n+1 < len(rs):
			n++
			word.WriteRune(rs[n])
			inWord = true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, inWord = r, true
		case quote == 0 && (r == ' ' || r == '\t'):
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("no closing %c", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errNoValue
	}
	return words, nil
}

func (c *rawConfig) expose(rest string) error {
	for _, p := range strings.Fields(rest) {
		port, proto, ok := strings.Cut(p, "/")
		if !ok {
			proto = "tcp"
		}
		if proto = strings.ToLower(proto); !slices.Contains([]string{"tcp", "udp", "sctp"}, proto) ||
			port == "" || strings.Trim(port, "0123456789-") != "" {
			return fmt.Errorf("%q: want PORT[/tcp|udp|sctp]", p)
		}
		c.setIn("ExposedPorts", port+"/"+proto, struct{}{})
	}
	return nil
}

// healthcheck reads NONE, or [--OPTION=VALUE...] CMD COMMAND, into docker's
// field.
func (c *rawConfig) healthcheck(rest string) error {
	check := map[string]any{}
	for strings.HasPrefix(rest, "--") {
		var option string
		option, rest, _ = strings.Cut(rest, " ")
		rest = strings.TrimSpace(rest)
		name, value, _ := strings.Cut(option[2:], "=")
		if name == "retries" {
			var n int
			if _, err := fmt.Sscan(value, &n); err != nil {
				return fmt.Errorf("%s: %w", option, err)
			}
			check["Retries"] = n
			continue
		}
		field, ok := map[string]string{"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod", "start-interval": "StartInterval"}[name]
		d, err := time.ParseDuration(value)
		if !ok || err != nil {
			return fmt.Errorf("%s: want --interval, --timeout, --start-period, --start-interval or --retries", option)
		}
		check[field] = int64(d)
	}
	word, command, _ := strings.Cut(rest, " ")
	switch strings.ToUpper(word) {
	case "NONE":
		check = map[string]any{"Test": []string{"NONE"}}
	case "CMD":
		command = strings.TrimSpace(command)
		if command == "" {
			return errNoValue
		}
		if list, ok := jsonList(command); ok {
			check["Test"] = append([]string{"CMD"}, list...)
		} else {
			check["Test"] = []string{"CMD-SHELL", command}
		}
	default:
		return errors.New("want NONE or CMD")
	}
	c.set(c.config, "Healthcheck", check)
	return nil
}
