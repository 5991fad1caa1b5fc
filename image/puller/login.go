package puller

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"airplant/image"
	"airplant/image/registry"

	"golang.org/x/sys/unix"
)

// maxSecret bounds what is read of a password; tokens have some kilobytes.
const maxSecret = 64 << 10

// Login asks for what is missing, checks it with the registry, and writes it
// down.
func Login(ctx context.Context, r image.LoginRequest, getenv func(string) string, in *os.File, out, prompt io.Writer) error {
	c := registry.Credential{Username: r.Username, Password: r.Password}
	if err := ask(&c, r.PasswordStdin, in, prompt); err != nil {
		return err
	}
	where, err := registry.NewWorld(getenv, "/etc").Login(ctx, r.Host, c)
	if err != nil {
		return fmt.Errorf("log in to %s: %w", r.Host, err)
	}
	_, err = fmt.Fprintf(out, "logged in to %s as %s; the password is kept in %s\n", r.Host, c.Username, where)
	return err
}

// Logout forgets credentials.
func Logout(r image.LoginRequest, getenv func(string) string, out io.Writer) error {
	n, err := registry.Logout(getenv, r.Host)
	if err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	if n == 0 && r.Host != "" {
		return fmt.Errorf("log out of %s: not logged in", r.Host)
	}
	_, err = fmt.Fprintf(out, "removed %d logins\n", n)
	return err
}

func ask(c *registry.Credential, stdin bool, in *os.File, prompt io.Writer) error {
	if stdin {
		if c.Username == "" {
			return errors.New("--password-stdin needs --username")
		}
		text, err := io.ReadAll(io.LimitReader(in, maxSecret+1))
		if err != nil {
			return err
		}
		if c.Password = strings.TrimRight(string(text), "\r\n"); len(text) > maxSecret || c.Password == "" {
			return errors.New("no password on standard input, or one of more than 64 kB")
		}
		return nil
	}
	if c.Username != "" && c.Password != "" {
		return nil
	}
	lines := bufio.NewReader(in)
	if c.Username == "" {
		fmt.Fprint(prompt, "Username: ")
		name, err := lines.ReadString('\n')
		if c.Username = strings.TrimSpace(name); c.Username == "" {
			return errors.Join(errors.New("no username"), err)
		}
	}
	if c.Password != "" {
		return nil
	}
	fmt.Fprint(prompt, "Password: ")
	defer silence(in)()
	text, err := lines.ReadString('\n')
	fmt.Fprintln(prompt)
	if c.Password = strings.TrimRight(text, "\r\n"); c.Password == "" {
		return errors.Join(errors.New("no password"), err)
	}
	return nil
}

// silence turns the echo of a terminal off until restore is called.
func silence(tty *os.File) (restore func()) {
	fd := int(tty.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {} // no terminal
	}
	quiet := *old
	quiet.Lflag &^= unix.ECHO
	_ = unix.IoctlSetTermios(fd, unix.TCSETS, &quiet)
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, old) }
}
