package puller

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"airplant/image"

	"golang.org/x/sys/unix"
)

// progress shows a pull: one line that changes on a terminal, else a line for
// each layer that is done.
type progress struct {
	w        io.Writer
	name     string
	terminal bool
	layers   []image.Event
	shown    time.Time
	width    int
}

func newProgress(w io.Writer, name string) *progress {
	p := &progress{w: w, name: name}
	if f, ok := w.(*os.File); ok {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		p.terminal = err == nil
	}
	return p
}

func (p *progress) event(ev image.Event) {
	if ev.Kind == image.Resolved {
		p.layers = make([]image.Event, ev.Layers)
		if !p.terminal {
			fmt.Fprintf(p.w, "pulling %s: %d layers\n", p.name, ev.Layers)
		}
		return
	}
	if ev.Layer >= len(p.layers) {
		return
	}
	p.layers[ev.Layer] = ev
	if p.terminal {
		p.draw(ev.Kind != image.LayerProgress)
		return
	}
	switch ev.Kind {
	case image.LayerExists:
		fmt.Fprintf(p.w, "layer %d of %d: exists\n", ev.Layer+1, len(p.layers))
	case image.LayerDone:
		fmt.Fprintf(p.w, "layer %d of %d: %s\n", ev.Layer+1, len(p.layers), image.Bytes(ev.Total))
	}
}

// draw redraws the line, at most ten times a second.
func (p *progress) draw(now bool) {
	if !now && time.Since(p.shown) < 100*time.Millisecond {
		return
	}
	p.shown = time.Now()
	done, total, ready := int64(0), int64(0), 0
	for _, l := range p.layers {
		done, total = done+l.Done, total+l.Total
		if l.Kind == image.LayerDone || l.Kind == image.LayerExists {
			ready++
		}
	}
	line := fmt.Sprintf("pulling %s: %d of %d layers, %s of %s", p.name, ready, len(p.layers), image.Bytes(done), image.Bytes(total))
	pad := max(0, p.width-len(line))
	p.width = len(line)
	fmt.Fprintf(p.w, "\r%s%s", line, strings.Repeat(" ", pad))
}

// end leaves the line.
func (p *progress) end() {
	if p.terminal && p.width > 0 {
		fmt.Fprintln(p.w)
	}
}
