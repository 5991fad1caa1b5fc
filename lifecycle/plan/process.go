package plan

import (
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"

	"airplant/internal/birth"
	"airplant/internal/lookup"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// cwdExists makes the working directory where it is missing.
func (b *builder) cwdExists() error {
	if cwd := b.spec.Process.Cwd; path.Clean(cwd) != "/" && b.shared[specs.MountNamespace] == "" {
		b.open(&place{label: "make the working directory " + cwd, path: cwd, make: b.makeDir})
	}
	return nil
}

var rlimits = lookup.Table[string, int]{
	{"RLIMIT_AS", unix.RLIMIT_AS},
	{"RLIMIT_CORE", unix.RLIMIT_CORE},
	{"RLIMIT_CPU", unix.RLIMIT_CPU},
	{"RLIMIT_DATA", unix.RLIMIT_DATA},
	{"RLIMIT_FSIZE", unix.RLIMIT_FSIZE},
	{"RLIMIT_LOCKS", unix.RLIMIT_LOCKS},
	{"RLIMIT_MEMLOCK", unix.RLIMIT_MEMLOCK},
	{"RLIMIT_MSGQUEUE", unix.RLIMIT_MSGQUEUE},
	{"RLIMIT_NICE", unix.RLIMIT_NICE},
	{"RLIMIT_NOFILE", unix.RLIMIT_NOFILE},
	{"RLIMIT_NPROC", unix.RLIMIT_NPROC},
	{"RLIMIT_RSS", unix.RLIMIT_RSS},
	{"RLIMIT_RTPRIO", unix.RLIMIT_RTPRIO},
	{"RLIMIT_RTTIME", unix.RLIMIT_RTTIME},
	{"RLIMIT_SIGPENDING", unix.RLIMIT_SIGPENDING},
	{"RLIMIT_STACK", unix.RLIMIT_STACK},
}

// limits sets resource limits; the limit of open files is always set, because
// the Go runtime has raised ours.
func (b *builder) limits() error {
	list := b.spec.Process.Rlimits
	if !slices.ContainsFunc(list, func(l specs.POSIXRlimit) bool { return l.Type == "RLIMIT_NOFILE" }) {
		list = append([]specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: b.host.NoFile[0], Hard: b.host.NoFile[1]}}, list...)
	}
	for _, l := range list {
		value := birth.Words(fmt.Sprintf("{%d, %d}", int64(l.Soft), int64(l.Hard)), l.Soft, l.Hard)
		b.do("set "+l.Type, birth.Prlimit64, birth.Int(0), birth.Int(rlimits.Get(l.Type)), birth.Ptr(value), birth.Null())
	}
	return nil
}

// closeDescriptors closes all that the container's process does not inherit,
// but for the sockets, which execve closes. A descriptor of the host's that
// were only close-on-exec could be used by a working directory or command of
// the form /proc/self/fd/N (CVE-2024-21626).
func (b *builder) closeDescriptors() error {
	sockets := 1
	if b.opts.Wait {
		sockets = 2
	}
	for n := range sockets {
		b.do("close the socket on execve", birth.Fcntl, birth.Int(b.firstFree()+n), birth.Int(unix.F_SETFD), birth.Int(unix.FD_CLOEXEC))
	}
	b.do("close the descriptors of the setup", birth.CloseRange, birth.Int(b.firstFree()+sockets), birth.Int(uint32(1<<32-1)), birth.Int(0))
	return nil
}

// credentials gives up what the process shall not have: first the bounding set,
// then the ids, then the capabilities that were kept over the change of ids.
func (b *builder) credentials() error {
	sets := b.grant()
	for c := range b.host.LastCap + 1 {
		if sets.bounding&(1<<c) == 0 {
			b.do("drop capability "+capName(c)+" for good", birth.Prctl, birth.Int(unix.PR_CAPBSET_DROP), birth.Int(c), birth.Int(0), birth.Int(0), birth.Int(0))
		}
	}
	b.do("keep capabilities over the change of ids", birth.Prctl, birth.Int(unix.PR_SET_KEEPCAPS), birth.Int(1), birth.Int(0), birth.Int(0), birth.Int(0))
	b.ids()
	kept, label := uint64(0), "set capabilities"
	if b.installs() {
		kept, label = 1<<unix.CAP_SYS_ADMIN, "set capabilities, and keep CAP_SYS_ADMIN for seccomp, up to execve"
	}
	header, data := capData(sets.effective|kept, sets.permitted|kept, sets.inheritable)
	b.do("clear ambient capabilities", birth.Prctl, birth.Int(unix.PR_CAP_AMBIENT), birth.Int(unix.PR_CAP_AMBIENT_CLEAR_ALL), birth.Int(0), birth.Int(0), birth.Int(0))
	b.do(label, birth.Capset, birth.Ptr(header), birth.Ptr(data))
	for c := range b.host.LastCap + 1 {
		if sets.ambient&sets.permitted&sets.inheritable&(1<<c) != 0 {
			b.do("raise ambient capability "+capName(c), birth.Prctl, birth.Int(unix.PR_CAP_AMBIENT), birth.Int(unix.PR_CAP_AMBIENT_RAISE), birth.Int(c), birth.Int(0), birth.Int(0))
		}
	}
	if b.spec.Process.NoNewPrivileges {
		b.do("set no_new_privs", birth.Prctl, birth.Int(unix.PR_SET_NO_NEW_PRIVS), birth.Int(1), birth.Int(0), birth.Int(0), birth.Int(0))
	}
	if b.opts.DieWithParent {
		// A change of ids clears it (prctl(2)), so it comes after.
		b.do("die with the parent", birth.Prctl, birth.Int(unix.PR_SET_PDEATHSIG), birth.Int(int(unix.SIGKILL)), birth.Int(0), birth.Int(0), birth.Int(0))
	}
	return nil
}

// ids sets the user and the groups. Where setgroups is denied
// the caller's other groups stay, which inside are the overflow group.
func (b *builder) ids() {
	u := b.spec.Process.User
	if !b.groupsDenied() && b.spec.Annotations["run.oci.keep_original_groups"] != "1" {
		list := make([]byte, 0, 4*len(u.AdditionalGids))
		for _, g := range u.AdditionalGids {
			list = binary.LittleEndian.AppendUint32(list, g)
		}
		set := b.do("set the additional groups", birth.Setgroups, birth.Int(len(u.AdditionalGids)), birth.Ptr(birth.Bytes(fmt.Sprint(u.AdditionalGids), list)))
		if len(list) == 0 && b.shared[specs.UserNamespace] != "" {
			set.Ignore(unix.EPERM) // denied in the namespace that was joined
		}
	}
	b.do(fmt.Sprintf("become group %d", u.GID), birth.Setresgid, birth.Int(u.GID), birth.Int(u.GID), birth.Int(u.GID))
	b.do(fmt.Sprintf("become user %d", u.UID), birth.Setresuid, birth.Int(u.UID), birth.Int(u.UID), birth.Int(u.UID))
	umask := uint32(0o022)
	if u.Umask != nil {
		umask = *u.Umask
	}
	b.do("set the umask", birth.Umask, birth.Int(umask))
}

// workdir goes to the working directory, as the process's user.
func (b *builder) workdir() error {
	cwd := b.spec.Process.Cwd
	label, fd := "go to the working directory "+cwd, birth.Cell("cwd")
	how := birth.OpenHow(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, unix.RESOLVE_NO_MAGICLINKS)
	b.do(label, birth.Openat2, birth.Int(unix.AT_FDCWD), birth.Str(cwd), birth.Ptr(how), birth.Int(24)).Into(fd)
	b.do(label, birth.Fchdir, birth.Load(fd))
	b.do(label, birth.Close, birth.Load(fd))
	return nil
}

// findCommand looks for the command as execvp(3) does, so that a missing one is
// found when the container is made and not when it is started.
func (b *builder) findCommand() error {
	name := b.spec.Process.Args[0]
	b.command = birth.Cell("command")
	b.plan.command[0] = b.plan.Main.Len()
	defer func() { b.plan.command[1] = b.plan.Main.Len() }()
	found, denied := &birth.Mark{}, &birth.Mark{}
	label := fmt.Sprintf("find the command %q", name)
	refused := birth.Cell("refused")
	for _, candidate := range b.candidates(name) {
		next := &birth.Mark{}
		at := birth.String(candidate)
		isDir := birth.Cell("directory")
		b.do(label, birth.Faccessat2, birth.Int(unix.AT_FDCWD), birth.Ptr(at), birth.Int(unix.X_OK), birth.Int(unix.AT_EACCESS)).
			OnErr(next, unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENAMETOOLONG).OnErr(denied, unix.EACCES)
		b.do(label, birth.Openat, birth.Int(unix.AT_FDCWD), birth.Ptr(at), birth.Int(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), birth.Int(0)).
			Into(isDir).OnErr(nil, unix.ENOTDIR).OnOK(denied)
		b.plan.Main.Set(label, b.command, birth.Ptr(at))
		b.plan.Main.Goto(label, found)
		b.here(denied)
		b.plan.Main.Set(label, refused, birth.Int(int(unix.EACCES)))
		b.here(next)
		denied = &birth.Mark{}
	}
	missing := &birth.Mark{}
	b.do(label, birth.Value, birth.Load(refused)).On(0, 0, missing)
	b.do(label, birth.Value, birth.Int(-int(unix.EACCES)))
	b.here(missing)
	b.do(label, birth.Value, birth.Int(-int(unix.ENOENT)))
	b.here(found)
	return nil
}

func (b *builder) candidates(name string) []string {
	if strings.Contains(name, "/") {
		return []string{name}
	}
	search := "/bin:/usr/bin" // as execvp(3), without the current directory
	for _, e := range b.spec.Process.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v
		}
	}
	var list []string
	for _, dir := range strings.Split(search, ":") {
		if dir == "" {
			dir = "."
		}
		list = append(list, path.Join(dir, name))
	}
	return list
}

// recorded waits until the container can be found by others, so that none runs
// that they do not know, even if its creator is killed. Mostly the byte is there
// by now.
func (b *builder) recorded() error {
	b.await(&b.plan.Main, "wait to be recorded", birth.In(birth.Report))
	return nil
}

// waitForStart is the created state: the process says that it is ready, and
// waits on its socket for the connection that starts it. From then on reports
// go there. When the connection ends without a word, the process waits on.
func (b *builder) waitForStart() error {
	if b.opts.Wait {
		conn, accept := birth.Cell("connection"), &birth.Mark{}
		b.do("say that the container is created", birth.Write, birth.In(birth.Report), birth.Ptr(birth.Message(Ready)), birth.Int(birth.MessageLen))
		b.unblock()
		b.here(accept)
		b.do("wait for start", birth.Accept4, birth.In(Listener), birth.Null(), birth.Null(), birth.Int(unix.SOCK_CLOEXEC)).Into(conn).OnErr(accept, unix.EINTR)
		b.do("report to start", birth.Dup3, birth.Load(conn), birth.In(birth.Report), birth.Int(unix.O_CLOEXEC))
		b.do("report to start", birth.Close, birth.Load(conn))
		b.do("wait for the word to start", birth.Read, birth.In(birth.Report), birth.Ptr(birth.Cell("byte")), birth.Int(1)).On(0, 0, accept)
		return nil
	}
	b.unblock()
	return nil
}

func (b *builder) unblock() {
	b.do("unblock signals", birth.RtSigprocmask, birth.Int(unix.SIG_SETMASK), birth.Ptr(birth.Words("none", 0)), birth.Null(), birth.Int(8))
}

// execute becomes the container's program.
func (b *builder) execute() error {
	p := b.spec.Process
	b.do(fmt.Sprintf("execute %q", p.Args[0]), birth.Execve, birth.Load(b.command), birth.Ptr(birth.Vector(p.Args)), birth.Ptr(birth.Vector(b.environment())))
	return nil
}

func (b *builder) environment() []string {
	env := slices.Clone(b.spec.Process.Env)
	if b.opts.ListenFDs > 0 {
		env = append(env, fmt.Sprintf("LISTEN_FDS=%d", b.opts.ListenFDs), "LISTEN_PID=1")
	}
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		env = append(env, "HOME="+b.host.Home)
	}
	return env
}
