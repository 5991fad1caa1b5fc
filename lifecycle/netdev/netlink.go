package netdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// side is a network namespace with a netlink socket in it.
type side struct {
	socket    int
	namespace *os.File // closed with it, where it is ours
	own       bool
	serial    uint32
}

// enter makes a socket in a namespace; home is where this thread belongs.
func enter(namespace, home *os.File) (_ *side, err error) {
	s := &side{namespace: namespace, own: namespace == home}
	runtime.LockOSThread()
	if !s.own {
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			return nil, os.NewSyscallError("setns", err)
		}
	}
	s.socket, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	err = os.NewSyscallError("socket", err)
	if !s.own {
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			// The thread is lost: it stays locked, and ends with its goroutine.
			return nil, errors.Join(err, os.NewSyscallError("setns", back))
		}
	}
	runtime.UnlockOSThread()
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *side) close() error {
	if s == nil {
		return nil
	}
	err := os.NewSyscallError("close", unix.Close(s.socket))
	if s.own {
		err = errors.Join(err, s.namespace.Close())
	}
	return err
}

// address is a lasting one of a device: the body of its message, and the
// attributes that say what it is.
type address struct {
	body       [unix.SizeofIfAddrmsg]byte
	attributes []byte
}

// ask sends a request and gives the answers; none where only success is told.
func (s *side) ask(kind, flags uint16, body []byte) ([]syscall.NetlinkMessage, error) {
	s.serial++
	request := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(request, uint32(unix.SizeofNlMsghdr+len(body)))
	binary.NativeEndian.PutUint16(request[4:], kind)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|flags)
	binary.NativeEndian.PutUint32(request[8:], s.serial)
	if err := unix.Sendto(s.socket, append(request, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	var list []syscall.NetlinkMessage
	for buffer := make([]byte, 1<<16); ; {
		n, _, err := unix.Recvfrom(s.socket, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		messages, err := syscall.ParseNetlinkMessage(append([]byte(nil), buffer[:n]...))
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch {
			case m.Header.Seq != s.serial:
			case m.Header.Type == unix.NLMSG_DONE:
				return list, nil
			case m.Header.Type == unix.NLMSG_ERROR:
				return list, errnoOf(m.Data)
			default:
				if list = append(list, m); flags&(unix.NLM_F_ACK|unix.NLM_F_DUMP) == 0 {
					return list, nil
				}
			}
		}
	}
}

func errnoOf(data []byte) error {
	if len(data) < 4 {
		return errors.New("netlink: a short error")
	}
	if code := int32(binary.NativeEndian.Uint32(data)); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}

// attribute encodes one (struct nlattr), padded.
func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, kind), value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// linkBody is struct ifinfomsg.
func linkBody(index int32, flags, change uint32) []byte {
	b := make([]byte, 4, unix.SizeofIfInfomsg)
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = binary.NativeEndian.AppendUint32(b, flags)
	return binary.NativeEndian.AppendUint32(b, change)
}

// link finds a device by its name.
func (s *side) link(name string) (index int32, flags uint32, err error) {
	list, err := s.ask(unix.RTM_GETLINK, 0, append(linkBody(0, 0, 0), attribute(unix.IFLA_IFNAME, append([]byte(name), 0))...))
	if err != nil {
		return 0, 0, err
	}
	if len(list) == 0 || len(list[0].Data) < unix.SizeofIfInfomsg {
		return 0, 0, fmt.Errorf("netlink: no answer for %s", name)
	}
	return int32(binary.NativeEndian.Uint32(list[0].Data[4:])), binary.NativeEndian.Uint32(list[0].Data[8:]), nil
}

// addresses are those of a device that somebody has given to it; others come
// by themselves.
func (s *side) addresses(index int32) ([]address, error) {
	list, err := s.ask(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, err
	}
	var found []address
	for i := range list {
		m := &list[i]
		if len(m.Data) < unix.SizeofIfAddrmsg || int32(binary.NativeEndian.Uint32(m.Data[4:])) != index || m.Data[3] != unix.RT_SCOPE_UNIVERSE {
			continue
		}
		attributes, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			return nil, err
		}
		a := address{body: [unix.SizeofIfAddrmsg]byte(m.Data)}
		flags := uint32(m.Data[2])
		for _, attr := range attributes {
			switch attr.Attr.Type {
			case unix.IFA_FLAGS:
				flags = binary.NativeEndian.Uint32(attr.Value)
			case unix.IFA_ADDRESS, unix.IFA_LOCAL, unix.IFA_BROADCAST, unix.IFA_RT_PRIORITY:
				a.attributes = append(a.attributes, attribute(attr.Attr.Type, attr.Value)...)
			}
		}
		if flags&unix.IFA_F_PERMANENT == 0 {
			continue
		}
		flags &= unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_NODAD
		a.attributes = append(a.attributes, attribute(unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, flags))...)
		found = append(found, a)
	}
	return found, nil
}

// send moves a device to the other side under a name.
func (s *side) send(index int32, to *side, name string) error {
	if _, err := s.ask(unix.RTM_NEWLINK, unix.NLM_F_ACK, linkBody(index, 0, unix.IFF_UP)); err != nil {
		return err
	}
	body := linkBody(index, 0, 0)
	body = append(body, attribute(unix.IFLA_NET_NS_FD, binary.NativeEndian.AppendUint32(nil, uint32(to.namespace.Fd())))...)
	body = append(body, attribute(unix.IFLA_IFNAME, append([]byte(name), 0))...)
	_, err := s.ask(unix.RTM_NEWLINK, unix.NLM_F_ACK, body)
	return err
}

// arrive gives a device that has come its addresses.
func (s *side) arrive(name string, list []address, up bool) error {
	index, _, err := s.link(name)
	if err != nil {
		return err
	}
	return s.settle(index, list, up)
}

func (s *side) settle(index int32, list []address, up bool) error {
	for i := range list {
		body := list[i].body
		body[2] = 0 // flags are in an attribute
		binary.NativeEndian.PutUint32(body[4:], uint32(index))
		_, err := s.ask(unix.RTM_NEWADDR, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_REPLACE, append(body[:], list[i].attributes...))
		if err != nil {
			return fmt.Errorf("set an address: %w", err)
		}
	}
	if !up {
		return nil
	}
	_, err := s.ask(unix.RTM_NEWLINK, unix.NLM_F_ACK, linkBody(index, unix.IFF_UP, unix.IFF_UP))
	return err
}
