package errand

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"airplant/image"
	"airplant/image/inflate"
	"airplant/image/layer"

	"github.com/opencontainers/go-digest"
)

func pullOptions(oneID bool) image.PullOptions {
	return image.PullOptions{IgnoreOwner: oneID, Gzip: inflate.Gzip, Zstd: inflate.Zstd}
}

func commit(ctx context.Context, r *image.CommitRequest, w World) error {
	store, err := image.Open(r.Store)
	if err != nil {
		return err
	}
	i, err := store.Commit(ctx, image.CommitOptions{
		Base: digest.Digest(r.Base), Upper: r.Upper, Layer: layer.WriteOptions{OneID: r.OneID, MountPoints: r.MountPoints},
		Name: r.Name, Config: r.Config, Changes: r.Changes, Author: r.Author, Message: r.Message, Created: r.Created,
		Command: r.Command, Docker: r.Docker, Compress: inflate.Deflate, Pull: pullOptions(r.OneID),
	})
	if err == nil {
		_, err = fmt.Fprintln(w.Stdout, i.ConfigDigest)
	}
	return err
}

func importTar(ctx context.Context, r *image.ImportRequest, w World) error {
	store, err := image.Open(r.Store)
	if err != nil {
		return err
	}
	in, err := openInput(ctx, r.Input, w)
	if err != nil {
		return err
	}
	defer in.Close()
	o := image.ImportOptions{
		Name: r.Name, Changes: r.Changes, Message: r.Message, Author: r.Author, Source: r.Input, Created: r.Created,
		Compress: inflate.Deflate, Pull: pullOptions(r.OneID),
	}
	if r.Platform != "" {
		if o.Pull.Platform, err = image.ParsePlatform(r.Platform); err != nil {
			return err
		}
	}
	i, err := store.Import(ctx, in, o)
	if err == nil {
		_, err = fmt.Fprintln(w.Stdout, i.ConfigDigest)
	}
	return err
}

// openInput opens standard input, what a URL leads to, or a file.
func openInput(ctx context.Context, name string, w World) (io.ReadCloser, error) {
	switch {
	case name == "-":
		return io.NopCloser(w.Stdin), nil
	case !strings.HasPrefix(name, "http://") && !strings.HasPrefix(name, "https://"):
		return os.Open(name)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, name, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("get %s: %s", name, resp.Status)
	}
	return resp.Body, nil
}

func export(ctx context.Context, r *image.TreeRequest, w World) error {
	store, err := image.Open(r.Store)
	if err != nil {
		return err
	}
	return output(r.Output, w.Stdout, func(out io.Writer) error {
		return store.Export(ctx, r.Dirs, layer.WriteOptions{OneID: r.OneID, MountPoints: r.MountPoints}, out)
	})
}

func diff(ctx context.Context, r *image.TreeRequest, w World) error {
	out := bufio.NewWriter(w.Stdout)
	kinds := map[layer.ChangeKind]string{layer.Added: "added", layer.Modified: "changed", layer.Deleted: "deleted"}
	list := map[string][]string{"added": {}, "changed": {}, "deleted": {}}
	err := image.Diff(ctx, r.Dirs, layer.WriteOptions{OneID: r.OneID, MountPoints: r.MountPoints}, func(k layer.ChangeKind, path string) error {
		if r.Format == "json" {
			list[kinds[k]] = append(list[kinds[k]], path)
			return nil
		}
		_, err := fmt.Fprintf(out, "%c %s\n", k, printable(path))
		return err
	})
	if err == nil && r.Format == "json" {
		err = json.NewEncoder(out).Encode(list)
	}
	if err == nil {
		err = out.Flush()
	}
	return err
}

// printable quotes a path that could steer a terminal.
func printable(path string) string {
	if q := fmt.Sprintf("%q", path); strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '�' }) {
		return q
	}
	return path
}
