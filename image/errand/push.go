package errand

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"airplant/image"
	"airplant/image/registry"
)

func push(ctx context.Context, r *image.PushRequest, w World) error {
	store, err := image.Open(r.Store)
	if err != nil {
		return err
	}
	jobs, err := pushJobs(store, r)
	if err != nil {
		return err
	}
	p := &pushing{store: store, world: w, quiet: r.Quiet}
	for _, j := range jobs {
		if j.content.Part && !r.Quiet {
			fmt.Fprintf(w.Stderr, "airplant: warning: %s is an index, of which the store has not all images: pushing that of one platform\n", j.to)
		}
		if err := p.one(ctx, j); err != nil {
			return err
		}
	}
	if r.DigestFile == "" {
		return nil
	}
	return os.WriteFile(r.DigestFile, []byte(jobs[len(jobs)-1].content.Root.Digest), 0o644)
}

// pushJob is an image and where it goes.
type pushJob struct {
	content *image.Content
	to      image.Reference
}

func pushJobs(store *image.Store, r *image.PushRequest) ([]pushJob, error) {
	destination := r.Destination
	if destination == "" {
		destination = r.Image
	}
	to, err := image.ParseReference(destination)
	if err != nil {
		return nil, err
	}
	if r.AllTags {
		return allTags(store, to, r.Platform)
	}
	c, err := content(store, r.Image, r.Platform)
	if err != nil {
		return nil, err
	}
	if c.Name == "" && r.Destination == "" {
		return nil, fmt.Errorf("push %s: an image that is not given by its name needs a destination", r.Image)
	}
	return []pushJob{{c, to}}, nil
}

// allTags finds all images of a repository.
func allTags(store *image.Store, to image.Reference, platform string) ([]pushJob, error) {
	list, err := store.Images()
	if err != nil {
		return nil, err
	}
	var jobs []pushJob
	seen := map[string]bool{}
	for _, i := range list {
		ref, err := image.ParseReference(i.Name)
		if err != nil || ref.Transport != image.Registry || ref.Host != to.Host || ref.Repository != to.Repository || ref.Tag == "" || seen[i.Name] {
			continue
		}
		seen[i.Name] = true
		c, err := content(store, i.Name, platform)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, pushJob{c, ref})
	}
	if jobs == nil {
		return nil, fmt.Errorf("%w: no image of %s/%s", image.ErrNotFound, to.Host, to.Repository)
	}
	return jobs, nil
}

// pushing is a push of one or more images.
type pushing struct {
	store *image.Store
	world World
	quiet bool
}

func (p *pushing) one(ctx context.Context, j pushJob) error {
	switch j.to.Transport {
	case image.Layout, image.Archive:
		return p.file(ctx, j)
	}
	tag := j.to.Tag
	if j.to.Digest != "" {
		if tag = ""; j.to.Digest != j.content.Root.Digest {
			return fmt.Errorf("push %s: the image is %s", j.to, j.content.Root.Digest)
		}
	}
	from := p.store.Elsewhere(j.content, j.to.Host, j.to.Repository)
	world := registry.NewWorld(p.world.Getenv, "/etc")
	defer world.Close()
	repo, err := world.Repository(ctx, j.to.Host, j.to.Repository)
	if err != nil {
		return image.ExplainPush(j.to, err)
	}
	target := registry.NewPusher(repo, from)
	show := &pushProgress{w: p.world.Stderr, name: j.to.String(), quiet: p.quiet, blobs: make([]image.Pushed, len(j.content.Blobs))}
	err = p.store.Push(ctx, j.content, target, tag, show.event)
	show.end()
	if err != nil {
		return image.ExplainPush(j.to, err)
	}
	if p.quiet {
		_, err = fmt.Fprintln(p.world.Stdout, j.to)
		return err
	}
	label := tag
	if label == "" {
		label = string(j.to.Digest)
	}
	_, err = fmt.Fprintf(p.world.Stdout, "%s: digest: %s size: %d\n", label, j.content.Root.Digest, j.content.Root.Size)
	return err
}

// file writes to a layout or an archive, by the name that it is given there.
func (p *pushing) file(ctx context.Context, j pushJob) error {
	c := *j.content
	c.Name = ""
	if j.to.Tag != "" {
		c.Name = j.to.String()
	}
	list := []*image.Content{&c}
	if j.to.Transport == image.Layout {
		return p.store.SaveLayout(ctx, list, j.to.Path)
	}
	if _, err := os.Stat(j.to.Path); err == nil {
		return fmt.Errorf("push %s: %w", j.to, errors.New("the file exists"))
	}
	return output(j.to.Path, nil, func(out io.Writer) error { return p.store.SaveArchive(ctx, list, out) })
}

// pushProgress shows a push: a line for each blob that is done, or on a
// terminal one that changes.
type pushProgress struct {
	w     io.Writer
	name  string
	quiet bool
	blobs []image.Pushed
	lineOnTerminal
}

func (s *pushProgress) event(p image.Pushed) {
	if s.quiet {
		return
	}
	s.blobs[p.Index] = p
	if s.terminal(s.w) {
		s.draw(s.w, p.Ready, s.line)
		return
	}
	if !p.Ready {
		return
	}
	what := image.Bytes(p.Total)
	switch {
	case p.Exists:
		what = "exists"
	case p.From != "":
		what = "mounted from " + p.From
	}
	fmt.Fprintf(s.w, "blob %d of %d: %s\n", p.Index+1, p.Count, what)
}

func (s *pushProgress) line() string {
	var done, total int64
	ready := 0
	for _, b := range s.blobs {
		done, total = done+b.Done, total+b.Total
		if b.Ready {
			ready++
		}
	}
	return fmt.Sprintf("pushing %s: %d of %d blobs, %s of %s", strings.TrimSpace(s.name), ready, len(s.blobs), image.Bytes(done), image.Bytes(total))
}

func (s *pushProgress) end() { s.finish(s.w) }
