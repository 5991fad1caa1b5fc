//go:build small

package main

import (
	_ "embed" // of the whole program
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"

	"airplant/internal/birth"
	"airplant/lifecycle"

	"github.com/pierrec/lz4/v4"
	"golang.org/x/sys/unix"
)

// wholeProgram is this command without the build tag small, which `make build`
// builds and packs first. It has all commands, and what only some of them need:
// a registry client, compression, templates, kong. Their package initialisation
// would cost every container more than it takes to unpack the program for the
// few commands that are not among [env.peopleCommands]. It is never written, so
// that its pages stay those of the file.
//
//go:embed whole.bin
var wholeProgram []byte

// peopleCommands are those that every container may need.
func (e *env) peopleCommands() []command {
	list := []command{
		{"run", "", func() any { return &runCmd{} }},
		{"pull", "", func() any { return &pullCmd{} }},
		{"rm", "", func() any { return &rmCmd{} }},
		{"unshare", "", func() any { return &unshareCmd{} }},
	}
	if e.worker {
		list = append(list, command{"remove-tree", "", func() any { return &removeTreeCmd{} }})
	}
	return list
}

// slow hands a command line over to the whole program: one with a command that
// is not ours, or not in the form that [quick] reads.
func (*face) slow(_ []string, e *env, _ ...any) error {
	err := e.become()
	return fmt.Errorf("hand over to the whole program: %w", err)
}

// matching is for the whole program.
func matching(*lifecycle.Runtime, string, func(string) error) error { return errNotQuick }

// adopt is for the whole program.
func (*env) adopt() error { return nil }

// named acts as another program, if we are called by its name.
func (e *env) named() (status int, ok bool) { return e.builtIn() }

// become executes the whole program in our place.
func (e *env) become() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	f, err := carried()
	if err != nil {
		return err
	}
	environ := append(e.environ, handedOver+"="+strconv.FormatInt(e.started.UnixNano(), 10)+":"+self)
	return errors.Join(os.NewSyscallError("execve", unix.Exec(procPath(f), e.args, environ)), f.Close())
}

// errand runs an errand in namespace P, where 0 is the caller and the other ids
// are its subordinate ones.
func (e *env) errand(verb, request string) error {
	f, err := carried()
	if err != nil {
		return err
	}
	return errors.Join(e.enterP(procPath(f), errandArgs(verb, request)...), f.Close())
}

func procPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// carried is the whole program, as a file in memory that nobody can change.
func carried() (*os.File, error) {
	f, err := birth.Memfd()
	if err != nil {
		return nil, err
	}
	if err = unpack(f); err == nil {
		err = birth.Seal(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unpack writes the program into a file, as internal/pack has packed it.
func unpack(f *os.File) error {
	block := make([]byte, 256<<10)
	for from := wholeProgram; len(from) > 0; {
		packed := binary.LittleEndian.Uint32(from)
		n, err := lz4.UncompressBlock(from[4:4+packed], block)
		if err == nil {
			_, err = f.Write(block[:n])
		}
		if err != nil {
			return fmt.Errorf("unpack the whole program: %w", err)
		}
		from = from[4+packed:]
	}
	return nil
}
