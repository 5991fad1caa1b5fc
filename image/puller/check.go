package puller

import (
	"context"
	"fmt"
	"io"

	"airplant/image"

	"github.com/go-json-experiment/json"
)

// Check checks the store, and prints what is wrong with it.
func Check(ctx context.Context, r image.CheckRequest, getenv func(string) string, out io.Writer) error {
	store, err := image.Open(r.Store)
	if err != nil {
		return err
	}
	options := image.CheckOptions{Repair: r.Repair, Busy: r.Busy, Pull: means(getenv)}
	options.Pull.IgnoreOwner = r.OneID
	problems, err := store.Check(ctx, options)
	if r.JSON {
		text, jsonErr := json.Marshal(problems)
		if jsonErr != nil {
			return jsonErr
		}
		fmt.Fprintf(out, "%s\n", text)
	}
	broken := 0
	for _, p := range problems {
		state := "broken"
		if p.Repaired {
			state = "repaired"
		} else {
			broken++
		}
		if !r.JSON {
			fmt.Fprintf(out, "%s: %s of %s: %s %s: %s\n", state, p.Kind, p.Image, p.Kind, p.Digest, p.Problem)
		}
	}
	switch {
	case err != nil:
		return err
	case broken > 0:
		return &image.Error{Op: "check image store", Err: fmt.Errorf("%d problems", broken), Hint: "fetch again what is broken: airplant system check --repair"}
	case len(problems) == 0 && !r.JSON:
		fmt.Fprintln(out, "all images are as they were pulled")
	}
	return nil
}
