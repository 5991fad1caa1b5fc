package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// outcome is a testing.TB that notes how a test would end.
type outcome struct {
	testing.TB
	fatal, skipped string
}

func (o *outcome) Helper()                   {}
func (o *outcome) Name() string              { return "TestOutcome" }
func (o *outcome) Fatalf(f string, _ ...any) { o.fatal = f }
func (o *outcome) Skip(args ...any)          { o.skipped, _ = args[0].(string) }

func TestSkipIsCounted(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "skips")
	if err := newLedger(ledger); err != nil {
		t.Fatal(err)
	}
	t.Setenv(envSkips, ledger)
	t.Setenv(envRequire, "")
	o := &outcome{TB: t}
	Need(o, "sh", "no-such-program", "nor-this\none")
	Skip(o, "no luck")
	Skip(o, "no luck")
	if o.skipped != "no luck" || o.fatal != "" {
		t.Errorf("skipped %q, fatal %q", o.skipped, o.fatal)
	}
	var told strings.Builder
	if err := tellSkips(&told, ledger); err != nil {
		t.Fatal(err)
	}
	want := "testenv: airplant/internal/testenv.test: 3 skipped: 2 no luck; 1 not installed: no-such-program, nor-this one\n"
	if told.String() != want {
		t.Errorf("told %q, want %q", told.String(), want)
	}
}

func TestSkipFailsWhenAllIsRequired(t *testing.T) {
	ledger := filepath.Join(t.TempDir(), "skips")
	if err := newLedger(ledger); err != nil {
		t.Fatal(err)
	}
	t.Setenv(envSkips, ledger)
	t.Setenv(envRequire, "all")
	o := &outcome{TB: t}
	Skip(o, "no luck")
	if o.fatal == "" {
		t.Error("a skip did not fail")
	}
}

func TestSkipNeedsALedger(t *testing.T) {
	t.Setenv(envSkips, "")
	t.Setenv(envRequire, "")
	o := &outcome{TB: t}
	Skip(o, "no luck")
	if o.fatal == "" {
		t.Error("a skip that is not counted did not fail")
	}
}

func TestNeedFindsSystemPrograms(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	if _, err := os.Stat("/usr/sbin/useradd"); err != nil {
		Skip(t, "no /usr/sbin/useradd")
	}
	if got := find("useradd"); got != "/usr/sbin/useradd" {
		t.Errorf("find useradd: %q", got)
	}
}
