package birth

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFork runs prelude and main in a forked child, as containers do.
func TestFork(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer r.Close()
	for _, failing := range []bool{false, true} {
		p := &Program{}
		p.Prelude.Do("keep the report", Fcntl, In(Report), Int(unix.F_SETFD), Int(0))
		p.Prelude.Do("wait for the executable", Read, In(Report), Ptr(Cell("byte")), Int(1))
		p.Prelude.Do("execute", Execveat, In("exe"), Str(""), Ptr(Vector([]string{"x"})), Ptr(Vector(nil)), Int(unix.AT_EMPTY_PATH))
		message := Message(9)
		p.Main.Do("a value", Value, Int(77)).IntoAt(message, MessageValue)
		p.Main.Do("sync", Write, In(Report), Ptr(message), Int(MessageLen))
		if failing {
			p.Main.Do("fail", Close, Int(-1))
		}
		exit(&p.Main, 3)
		in := Inputs{Report: int(w.Fd())}
		exe, err := Memfd()
		if err != nil {
			t.Fatal(err)
		}
		in["exe"] = int(exe.Fd())
		child, err := Fork(p, in, 0, NoFail())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Compile(exe, in, NoFail()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		if told, err := p.ReadReport(r); told.Point != 9 || told.Value != 77 || err != nil {
			t.Errorf("told %v, %v", told, err)
		}
		want := 3
		if failing {
			want = 1
			if _, err := p.ReadReport(r); !errors.Is(err, unix.EBADF) {
				t.Errorf("report: %v", err)
			}
		}
		var ws unix.WaitStatus
		if _, err := unix.Wait4(child.PID, &ws, 0, nil); err != nil || ws.ExitStatus() != want {
			t.Errorf("exit status %d, %v", ws.ExitStatus(), err)
		}
		child.PidFD.Close()
		if err := child.Free(); err != nil {
			t.Error(err)
		}
		exe.Close()
	}
	w.Close()
}

// TestForkWhileGoRuns forks many children while other goroutines allocate and
// collect: the child shares their memory.
func TestForkWhileGoRuns(t *testing.T) {
	stop, stopped := make(chan bool), make(chan bool)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = make([]byte, 1<<16)
				runtime.GC()
			}
		}
	}()
	p := &Program{}
	p.Prelude.Do("exit", ExitGroup, Int(5))
	for range 200 {
		child, err := Fork(p, Inputs{Report: 1}, 0, NoFail())
		if err != nil {
			t.Fatal(err)
		}
		var ws unix.WaitStatus
		if _, err := unix.Wait4(child.PID, &ws, 0, nil); err != nil || ws.ExitStatus() != 5 {
			t.Fatalf("exit status %d, %v", ws.ExitStatus(), err)
		}
		child.PidFD.Close()
		if err := child.Free(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-stopped
}
