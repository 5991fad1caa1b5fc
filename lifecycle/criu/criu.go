// Package criu speaks with CRIU (criu.org), which writes processes to files and
// makes them again. `criu swrk` is a server for one request, over a socket that
// it inherits:
//
//	we                          criu swrk 3
//	 | request ------------------>| freezes, reads memory, …
//	 |<---------- notification    |
//	 | answer ------------------->|
//	 |<--------------- response   |
//
// A program of its own and no library: CRIU must be a single thread and root.
// What is in the images is CRIU's alone.
//
// Known hazards: the interface has no limit of time, and CRIU's own errors are
// in its log only.
package criu

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// Server is a CRIU that serves one request.
type Server struct {
	cmd  *exec.Cmd
	conn *os.File
}

// FirstExtra is the number in CRIU's process of the first extra descriptor.
const FirstExtra = 4

// Start starts CRIU with the given standard descriptors and extra ones.
func Start(program string, stdio [3]*os.File, extra ...*os.File) (*Server, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	conn, theirs := os.NewFile(uintptr(fds[0]), "criu"), os.NewFile(uintptr(fds[1]), "criu")
	defer theirs.Close()
	cmd := exec.Command(program, "swrk", "3")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdio[0], stdio[1], stdio[2]
	cmd.ExtraFiles = append([]*os.File{theirs}, extra...)
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start CRIU: %w", err), conn.Close())
	}
	return &Server{cmd, conn}, nil
}

// Notice is what CRIU tells while it works, and waits for an answer to.
type Notice struct {
	Script string // the moment: post-restore, …
	PID    int
	File   *os.File // the master of a terminal; the receiver closes it
}

// Error is CRIU's refusal. The log says more.
type Error struct {
	Kind  Kind
	Errno unix.Errno
	Text  string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("CRIU: %s failed", e.Kind)
	if e.Errno != 0 {
		text += ": " + e.Errno.Error()
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// Do sends the request and answers notifications until the response comes. It
// ends the server. The pid is that of a restored process.
func (s *Server) Do(kind Kind, o *Options, each func(Notice) error) (pid int, err error) {
	pid, err = s.converse(kind, o, each)
	// Now it reads the end of file. After a pre-dump it would wait for more.
	closed := s.conn.Close()
	waited := s.cmd.Wait()
	if err == nil && kind != PreDump && waited != nil {
		err = fmt.Errorf("CRIU: %w", waited)
	}
	return pid, errors.Join(err, closed)
}

func (s *Server) converse(kind Kind, o *Options, each func(Notice) error) (pid int, err error) {
	var request message
	request.varint(1, uint64(kind))
	request.bytes(2, o.encode())
	if _, err := s.conn.Write(request); err != nil {
		return 0, fmt.Errorf("ask CRIU: %w", err)
	}
	for {
		r, err := s.read()
		switch {
		case err != nil:
			return 0, err
		case !r.success:
			return 0, &Error{Kind: kind, Errno: unix.Errno(r.errno), Text: r.text}
		case r.kind != notify:
			return r.pid, nil
		}
		if err := each(r.notice); err != nil {
			// It takes a refusal, and undoes what it did.
			return 0, errors.Join(err, s.answer(false))
		}
		if err := s.answer(true); err != nil {
			return 0, err
		}
	}
}

func (s *Server) answer(success bool) error {
	var m message
	m.varint(1, uint64(notify))
	m.varint(3, 0)
	if success {
		m.varint(3, 1)
	}
	_, err := s.conn.Write(m)
	return err
}

// response is the message criu_resp.
type response struct {
	kind    Kind
	success bool
	pid     int
	notice  Notice
	errno   uint64
	text    string
}

func (s *Server) read() (r response, err error) {
	text, control := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4))
	n, nc, flags, _, err := unix.Recvmsg(int(s.conn.Fd()), text, control, unix.MSG_CMSG_CLOEXEC)
	for errors.Is(err, unix.EINTR) {
		n, nc, flags, _, err = unix.Recvmsg(int(s.conn.Fd()), text, control, unix.MSG_CMSG_CLOEXEC)
	}
	switch {
	case err != nil:
		return r, os.NewSyscallError("recvmsg", err)
	case n == 0:
		return r, fmt.Errorf("CRIU ended without an answer: %w", io.ErrUnexpectedEOF)
	case flags&unix.MSG_TRUNC != 0:
		return r, errors.New("a message of CRIU's is too long")
	}
	if err := r.decode(text[:n]); err != nil {
		return r, err
	}
	r.notice.File, err = passed(control[:nc])
	return r, err
}

func (r *response) decode(text []byte) error {
	return fields(text, func(field int, number uint64, data []byte) error {
		switch field {
		case 1:
			r.kind = Kind(number)
		case 2:
			r.success = number != 0
		case 4:
			return fields(data, func(field int, number uint64, _ []byte) error {
				if field == 1 {
					r.pid = int(number)
				}
				return nil
			})
		case 5:
			return fields(data, func(field int, number uint64, data []byte) error {
				switch field {
				case 1:
					r.notice.Script = string(data)
				case 2:
					r.notice.PID = int(number)
				}
				return nil
			})
		case 7:
			r.errno = number
		case 9:
			r.text = string(data)
		}
		return nil
	})
}

// passed is the descriptor that came with a message, or nil.
func passed(control []byte) (*os.File, error) {
	if len(control) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("take a descriptor from CRIU: %w", err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, fmt.Errorf("take a descriptor from CRIU: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}
