package seccomp

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// cacheVersion is part of every key: one that is raised with each change of
// what [Compile] makes, or of [Filter.Marshal].
const cacheVersion = 1

// cacheEntries bounds a cache. When it is full, all goes.
const cacheEntries = 256

// Cached is [Compile], with results kept in a folder, which is made where it is
// missing. A cache that cannot be used, or is not ours alone, is as good as
// none: the filter is compiled.
func Cached(dir string, c *specs.LinuxSeccomp) (*Filter, error) {
	key := keyOf(c)
	folder, err := openCache(dir)
	if err != nil {
		return Compile(c)
	}
	defer folder.Close()
	if f, err := readEntry(folder, key); err == nil {
		return f, nil
	}
	f, err := Compile(c)
	if err != nil {
		return nil, err
	}
	// The next container compiles it again, then.
	_ = writeEntry(folder, key, f)
	return f, nil
}

// openCache opens the folder, which must be of mode 0700 and ours.
func openCache(dir string) (*os.File, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(dir, flags, 0)
	if errors.Is(err, unix.ENOENT) {
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return nil, err
		}
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		fd, err = unix.Open(dir, flags, 0)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	if err := ours(f, unix.S_IFDIR|0o700); err != nil {
		return nil, err
	}
	return f, nil
}

// ours sees that a file is of a mode and belongs to us, and closes any other.
func ours(f *os.File, mode uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return errors.Join(os.NewSyscallError("fstat", err), f.Close())
	}
	if st.Mode != mode || int(st.Uid) != os.Geteuid() {
		return errors.Join(fmt.Errorf("%s is not ours alone", f.Name()), f.Close())
	}
	return nil
}

func readEntry(folder *os.File, key string) (*Filter, error) {
	fd, err := unix.Openat(int(folder.Fd()), key, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: key, Err: err}
	}
	file := os.NewFile(uintptr(fd), key)
	if err := ours(file, unix.S_IFREG|0o600); err != nil {
		return nil, err
	}
	defer file.Close()
	text := make([]byte, marshalOverhead+len(key)+maxInstructions*instructionSize+1)
	n, err := file.Read(text)
	if err != nil {
		return nil, err
	}
	return Unmarshal(key, text[:n])
}

// writeEntry makes an entry that is there whole or not at all.
func writeEntry(folder *os.File, key string, f *Filter) (err error) {
	dir := folder.Name()
	if names, err := folder.Readdirnames(cacheEntries); err == nil && len(names) >= cacheEntries {
		for _, name := range names {
			_ = os.Remove(filepath.Join(dir, name)) // others may do the same
		}
	}
	file, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(f.Marshal(key))
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), filepath.Join(dir, key))
}

// keyOf is a hash of all that the result depends on. Every string has its
// length before it, so no two configurations are hashed alike.
func keyOf(c *specs.LinuxSeccomp) string {
	b := make([]byte, 0, 8<<10)
	number := func(n uint64) { b = binary.AppendUvarint(b, n) }
	text := func(s string) {
		number(uint64(len(s)))
		b = append(b, s...)
	}
	errno := func(e *uint) {
		if e == nil {
			number(0)
		} else {
			number(uint64(*e) + 1)
		}
	}
	number(cacheVersion)
	text(runtime.GOARCH)
	text(string(c.DefaultAction))
	errno(c.DefaultErrnoRet)
	number(uint64(len(c.Architectures)))
	for _, a := range c.Architectures {
		text(string(a))
	}
	number(uint64(len(c.Flags)))
	for _, f := range c.Flags {
		text(string(f))
	}
	// Of these it only matters whether they are there.
	number(uint64(min(len(c.ListenerPath), 1)))
	number(uint64(min(len(c.ListenerMetadata), 1)))
	number(uint64(len(c.Syscalls)))
	for i := range c.Syscalls {
		s := &c.Syscalls[i]
		number(uint64(len(s.Names)))
		for _, n := range s.Names {
			text(n)
		}
		text(string(s.Action))
		errno(s.ErrnoRet)
		number(uint64(len(s.Args)))
		for _, a := range s.Args {
			text(string(a.Op))
			number(uint64(a.Index))
			number(a.Value)
			number(a.ValueTwo)
		}
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// The form of a filter in a file: a mark, the flags, whether it notifies, the
// key, the program, and a hash of all that.
const (
	mark            = "airplant seccomp 1\n"
	marshalOverhead = len(mark) + 4 + 1 + sha256.Size
)

// Marshal gives the filter's form in a file. The key is what it is kept as.
func (f *Filter) Marshal(key string) []byte {
	b := make([]byte, 0, marshalOverhead+len(key)+len(f.Program))
	b = append(b, mark...)
	b = binary.LittleEndian.AppendUint32(b, f.Flags)
	if f.Notify {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = append(b, key...)
	b = append(b, f.Program...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// Unmarshal reads what Marshal made for the same key.
func Unmarshal(key string, b []byte) (*Filter, error) {
	size := len(b) - marshalOverhead - len(key)
	if size < instructionSize || size > maxInstructions*instructionSize || size%instructionSize != 0 {
		return nil, fmt.Errorf("a stored filter has %d bytes", len(b))
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if sha256.Sum256(body) != [sha256.Size]byte(sum) {
		return nil, errors.New("a stored filter is damaged")
	}
	body, ok := cut(body, mark)
	if !ok {
		return nil, errors.New("a stored filter has another format")
	}
	f := &Filter{Flags: binary.LittleEndian.Uint32(body), Notify: body[4] == 1}
	if f.Program, ok = cut(body[5:], key); !ok {
		return nil, errors.New("a stored filter is another's")
	}
	return f, nil
}

func cut(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return nil, false
	}
	return b[len(prefix):], true
}
