package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

func printCase(out io.Writer, c benchCase, results []Result) {
	fmt.Fprintf(out, "\n%s: %s\n", c.name, c.what)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, r := range results {
		switch {
		case r.Status == statusMissing:
			fmt.Fprintf(w, "  %s\tnot installed\n", r.Subject)
		case r.Status != statusOK:
			fmt.Fprintf(w, "  %s\t%s: %s\n", r.Subject, r.Status, r.Error)
		case r.Unit != "":
			fmt.Fprintf(w, "  %s\t%.0f %s\n", r.Subject, r.Value, r.Unit)
		default:
			fmt.Fprintf(w, "  %s\tmedian %.2f ms\tp90 %.2f ms\tmin %.2f ms\t", r.Subject, r.Median, r.P90, r.Min)
			if r.Peak != 0 {
				fmt.Fprintf(w, "%.0f MiB\t", r.Peak)
			}
			if r.Ratio != 0 {
				fmt.Fprintf(w, "airplant takes %.2f of it\n", r.Ratio)
			} else {
				fmt.Fprintf(w, "%d runs\n", r.Runs)
			}
		}
	}
	w.Flush()
}

func writeJSON(w io.Writer, host string, results []Result) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Host    string   `json:"host"`
		Results []Result `json:"results"`
	}{host, results})
}

// hostLine says what the numbers were measured on.
func (b *bench) hostLine() string {
	var uts unix.Utsname
	kernel := "unknown kernel"
	if err := unix.Uname(&uts); err == nil {
		kernel = "Linux " + unix.ByteSliceToString(uts.Release[:]) + " " + unix.ByteSliceToString(uts.Machine[:])
	}
	parts := []string{kernel, cpuName(), "as uid " + fmt.Sprint(b.UID)}
	for _, name := range []string{"crun", "runc", "bwrap", "podman", "skopeo", "umoci"} {
		path, err := find(name)
		if err != nil {
			continue
		}
		version, err := b.output(path, "--version")
		if err != nil {
			version = name + " of unknown version"
		}
		parts = append(parts, version)
	}
	return strings.Join(parts, ", ")
}

func cpuName() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	defer file.Close()
	count, model := 0, "CPU"
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		switch strings.TrimSpace(key) {
		case "processor":
			count++
		case "model name":
			model = strings.TrimSpace(value)
		}
	}
	return fmt.Sprintf("%d x %s", count, model)
}
