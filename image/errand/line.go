package errand

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lineOnTerminal is a line that is drawn again and again.
type lineOnTerminal struct {
	looked, is bool
	shown      time.Time
	width      int
}

func (l *lineOnTerminal) terminal(w io.Writer) bool {
	if f, ok := w.(*os.File); ok && !l.looked {
		_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
		l.is = err == nil
	}
	l.looked = true
	return l.is
}

// draw redraws the line, at most ten times a second unless it must be now.
func (l *lineOnTerminal) draw(w io.Writer, now bool, line func() string) {
	if !now && time.Since(l.shown) < 100*time.Millisecond {
		return
	}
	l.shown = time.Now()
	text := line()
	pad := max(0, l.width-len(text))
	l.width = len(text)
	fmt.Fprintf(w, "\r%s%s", text, strings.Repeat(" ", pad))
}

// finish leaves the line.
func (l *lineOnTerminal) finish(w io.Writer) {
	if l.width > 0 {
		fmt.Fprintln(w)
	}
}
