package birth

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"airplant/internal/testenv"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// qemu names an emulator to run programs with; [TestOtherMachine] sets it.
const qemu = "BIRTH_TEST_QEMU"

// say writes a word to standard output.
func say(s *Section, word string) {
	s.Do("say "+word, Write, Int(1), Str(word), Int(len(word)))
}

func exit(s *Section, code int) { s.Do("exit", ExitGroup, Int(code)) }

// everything uses each kind of instruction and prints what it finds.
func everything(s *Section) {
	say(s, "start ")
	fd := Cell("fd")
	s.Do("open /dev/null", Openat, Int(unix.AT_FDCWD), Str("/dev/null"), Int(unix.O_WRONLY), Int(0)).Into(fd)
	s.Do("write to the saved descriptor", Write, Load(fd), Str("x"), Int(1))
	s.Do("close it", Close, Load(fd))
	s.Do("close it again", Close, Load(fd)).Ignore(unix.EBADF)
	missing, found, after := &Mark{}, &Mark{}, &Mark{}
	s.Do("open a missing file", Openat, Int(unix.AT_FDCWD), Str("/does/not/exist"), Int(unix.O_PATH), Int(0)).
		OnErr(missing, unix.ENOENT).OnOK(found)
	s.Here(found)
	say(s, "found ")
	s.Goto("skip", after)
	s.Here(missing)
	say(s, "missing ")
	s.Here(after)
	s.Set("seven", fd, Int(7))
	seven := &Mark{}
	s.Do("compare", Value, Load(fd)).On(7, 7, seven)
	say(s, "not ")
	s.Here(seven)
	say(s, "seven ")
	say(s, "end")
}

// run executes the main section of p and gives its output and report.
func run(t *testing.T, p *Program, opts Options) (stdout string, report error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	memfd, err := Memfd()
	if err != nil {
		t.Fatal(err)
	}
	defer memfd.Close()
	if err := p.Compile(memfd, Inputs{Report: 3}, opts); err != nil {
		t.Fatal(err)
	}
	image, err := io.ReadAll(io.NewSectionReader(memfd, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, image, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file)
	if os.Getenv(qemu) != "" {
		cmd = exec.Command(os.Getenv(qemu), file)
	}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &out, &stderr, []*os.File{w}
	err = cmd.Run()
	w.Close()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	if stderr.Len() > 0 {
		t.Fatalf("stderr: %s", &stderr)
	}
	_, report = p.ReadReport(r)
	return out.String(), report
}

func TestEveryKindOfInstruction(t *testing.T) {
	var p Program
	everything(&p.Main)
	exit(&p.Main, 0)
	out, report := run(t, &p, NoFail())
	if want := "start missing seven end"; out != want || !errors.Is(report, io.EOF) {
		t.Errorf("got %q and report %v, want %q and EOF", out, report, want)
	}
}

func TestFailureIsReported(t *testing.T) {
	var p Program
	say(&p.Main, "before")
	p.Main.Do("open what is not there", Openat, Int(unix.AT_FDCWD), Str("/no"), Int(0), Int(0))
	say(&p.Main, "after")
	out, report := run(t, &p, NoFail())
	e, ok := errors.AsType[*Error](report)
	if !ok || e.Index != 1 || e.Label != "open what is not there" || e.Call != Openat || e.Errno != unix.ENOENT {
		t.Errorf("report: %#v", report)
	}
	if out != "before" {
		t.Errorf("output %q", out)
	}
}

// TestSilentReport: memory takes the report, and no call.
func TestSilentReport(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report")
	if err := os.WriteFile(file, make([]byte, MessageLen), 0o600); err != nil {
		t.Fatal(err)
	}
	var p Program
	fd, memory := Cell("fd"), Cell("memory")
	p.Main.Do("open", Openat, Int(unix.AT_FDCWD), Str(file), Int(unix.O_RDWR), Int(0)).Into(fd)
	p.Main.Do("share memory", Mmap, Int(0), Int(MessageLen), Int(unix.PROT_READ|unix.PROT_WRITE), Int(unix.MAP_SHARED), Load(fd), Int(0)).Into(memory)
	p.Main.Do("report there", Value, Load(memory)).IntoReports()
	p.Main.Do("fail", Close, Int(-1))
	_, report := run(t, &p, NoFail())
	if !errors.Is(report, io.EOF) {
		t.Errorf("a report was written: %v", report)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, ok := errors.AsType[*Error](p.ReadSilent(f))
	if !ok || e.Index != 3 || e.Errno != unix.EBADF || e.Label != "fail" {
		t.Errorf("report: %+v", e)
	}
	if err := os.WriteFile(file, make([]byte, MessageLen), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.ReadSilent(f); !errors.Is(err, io.EOF) {
		t.Errorf("without a failure: %v", err)
	}
}

func TestInjectedFailure(t *testing.T) {
	var p Program
	p.Prelude.Do("nothing", Value, Int(0)) // shifts the index
	everything(&p.Main)
	exit(&p.Main, 0)
	for n := p.Prelude.Len(); n < p.Prelude.Len()+p.Main.Len(); n++ {
		_, report := run(t, &p, Options{FailAt: n, FailWith: unix.EDOM})
		e, ok := errors.AsType[*Error](report)
		if !ok {
			// An instruction that was jumped over.
			if l := p.Lines()[n].Label; !strings.HasPrefix(l, "say not") && l != "say found " && l != "skip" {
				t.Errorf("instruction %d (%s): report %v", n, l, report)
			}
			continue
		}
		if e.Index != n || e.Errno != unix.EDOM {
			t.Errorf("instruction %d reported as %v", n, e)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	var p Program
	p.Main.Goto("nowhere", &Mark{})
	if err := p.Compile(nil, Inputs{Report: 3}, NoFail()); err == nil {
		t.Error("a jump to nowhere compiled")
	}
	p = Program{}
	p.Main.Do("use", Close, In("absent"))
	if err := p.Compile(nil, Inputs{Report: 3}, NoFail()); err == nil {
		t.Error("an input without descriptor compiled")
	}
	if err := p.Compile(nil, nil, NoFail()); err == nil {
		t.Error("a program without a report descriptor compiled")
	}
	if err := Terminated("argument", "a\x00b"); !errors.Is(err, ErrNUL) {
		t.Errorf("NUL: %v", err)
	}
}

func TestExecutableIsSealed(t *testing.T) {
	var p Program
	exit(&p.Main, 0)
	f, err := Memfd()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := p.Compile(f, Inputs{Report: 3}, NoFail()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.EPERM) {
		t.Errorf("write to a sealed executable: %v", err)
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x, %v", flags, err)
	}
}

func TestLines(t *testing.T) {
	var p Program
	everything(&p.Main)
	var got []string
	for _, l := range p.Lines() {
		got = append(got, l.String())
	}
	for _, want := range []string{
		`   1  openat(AT_FDCWD, "/dev/null", O_WRONLY, 0) = <fd>  # open /dev/null`,
		`   4  close(<fd>)  [EBADF: go on]  # close it again`,
		`   5  openat(AT_FDCWD, "/does/not/exist", O_PATH, 0)  [ENOENT: to 8; success: go on]  # open a missing file`,
	} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("no line %q in\n%s", want, strings.Join(got, "\n"))
		}
	}
}
