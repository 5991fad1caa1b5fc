// Command airplant-pull pulls one image. It is not for people: airplant carries
// it, and runs it in the user namespace of its image store with a request in
// JSON as its only argument.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"airplant/image"
	"airplant/image/puller"

	"github.com/go-json-experiment/json"
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
	if len(os.Args) != 2 {
		return errors.New("airplant-pull is started by airplant alone")
	}
	var r image.Request
	if err := json.Unmarshal([]byte(os.Args[1]), &r); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return puller.Run(ctx, r, os.Getenv, os.Stdout, os.Stderr)
}
