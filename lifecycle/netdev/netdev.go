// Package netdev moves network devices of the host into a container's network
// namespace, as linux.netDevices has it.
//
// A device that moves loses its addresses, and is down (dev_change_net_namespace
// of the kernel). So they are read before, and set again after. All is done by
// netlink(7), from the runtime's own process: one socket in its namespace, one
// in the container's. It takes CAP_NET_ADMIN over both.
//
// When a namespace ends, physical devices go back to the first namespace by
// themselves, and virtual ones are gone. So a container that cannot be made
// gives its devices back before it ends ([Moved.Undo]).
package netdev

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Check finds names that no device can have (dev_valid_name of the kernel), and
// two devices of one name.
func Check(devices map[string]specs.LinuxNetDevice) error {
	seen := map[string]bool{}
	for host, d := range devices {
		inside := insideName(host, d)
		for _, name := range []string{host, inside} {
			if name == "" || name == "." || name == ".." || len(name) >= unix.IFNAMSIZ || strings.ContainsAny(name, "/:%\x00 \t\n\v\f\r") {
				return fmt.Errorf("linux.netDevices: %q is not the name of a device", name)
			}
		}
		if seen[inside] {
			return fmt.Errorf("linux.netDevices: two devices are to be %q", inside)
		}
		seen[inside] = true
	}
	return nil
}

func insideName(host string, d specs.LinuxNetDevice) string {
	if d.Name != "" {
		return d.Name
	}
	return host
}

// Moved are devices that have been moved.
type Moved struct {
	ours, theirs *side
	list         []device
}

// device is one, as it was.
type device struct {
	host, inside string
	up           bool
	addresses    []address
}

// Move moves devices into the network namespace of a file, which stays the
// caller's to close. When it fails, all are where they were. The caller calls
// [Moved.Close].
func Move(devices map[string]specs.LinuxNetDevice, namespace *os.File) (_ *Moved, err error) {
	if err := Check(devices); err != nil {
		return nil, err
	}
	m := &Moved{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("linux.netDevices: %w", err), m.Undo(), m.Close())
		}
	}()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	if m.ours, err = enter(own, own); err != nil {
		return nil, errors.Join(err, own.Close())
	}
	if m.theirs, err = enter(namespace, own); err != nil {
		return nil, err
	}
	for _, host := range slices.Sorted(maps.Keys(devices)) {
		if err := m.move(host, insideName(host, devices[host])); err != nil {
			return nil, fmt.Errorf("%s: %w", host, err)
		}
	}
	return m, nil
}

func (m *Moved) move(host, inside string) error {
	index, flags, err := m.ours.link(host)
	if err != nil {
		return err
	}
	if flags&unix.IFF_LOOPBACK != 0 {
		return errors.New("the loopback device stays in its namespace")
	}
	d := device{host: host, inside: inside, up: flags&unix.IFF_UP != 0}
	if d.addresses, err = m.ours.addresses(index); err != nil {
		return err
	}
	if _, _, err := m.theirs.link(inside); err == nil {
		return explain(unix.EEXIST)
	}
	if err := m.ours.send(index, m.theirs, inside); err != nil {
		if _, _, gone := m.ours.link(host); errors.Is(gone, unix.ENODEV) {
			// It has moved, and only its new name was refused.
			m.list = append(m.list, device{host: host, inside: host, up: d.up, addresses: d.addresses})
			return explain(err)
		}
		// It may have gone down before it was refused.
		return errors.Join(explain(err), m.ours.settle(index, d.addresses, d.up))
	}
	m.list = append(m.list, d)
	return m.theirs.arrive(inside, d.addresses, true)
}

func explain(err error) error {
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: the container's namespace has a device of that name", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: it takes CAP_NET_ADMIN over both namespaces", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: the device is bound to its namespace", err)
	}
	return err
}

// Undo takes all devices back.
func (m *Moved) Undo() error {
	if m == nil {
		return nil
	}
	var errs []error
	for _, d := range slices.Backward(m.list) {
		index, _, err := m.theirs.link(d.inside)
		if err == nil {
			err = m.theirs.send(index, m.ours, d.host)
		}
		if err == nil {
			err = m.ours.arrive(d.host, d.addresses, d.up)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("take the device %s back: %w", d.host, err))
		}
	}
	m.list = nil
	return errors.Join(errs...)
}

// Close lets go of the namespaces; the devices stay where they are.
func (m *Moved) Close() error {
	if m == nil {
		return nil
	}
	return errors.Join(m.ours.close(), m.theirs.close())
}
