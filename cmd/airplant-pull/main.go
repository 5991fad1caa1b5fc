// Command airplant-pull is what airplant carries for the work of package errand.
// It is not for people: airplant runs it with a verb and a request in JSON.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"airplant/image"
	"airplant/image/errand"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "airplant: error: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
		var e *image.Error
		if errors.As(err, &e) && e.Hint != "" {
			fmt.Fprintf(os.Stderr, "airplant: hint: %s\n", e.Hint)
		}
		os.Exit(125)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return errors.New("airplant-pull is started by airplant alone")
	}
	request := ""
	if len(os.Args) > 2 {
		request = os.Args[2]
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return errand.Run(ctx, os.Args[1], []byte(request), errand.World{
		Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
}
