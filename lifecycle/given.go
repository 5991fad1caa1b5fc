package lifecycle

import (
	"errors"
	"os"
	"strconv"

	"airplant/lifecycle/netdev"
	"airplant/lifecycle/rdt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// given is what a container gets from the host that the kernel does not take
// back by itself when the container cannot be made.
type given struct {
	devices *netdev.Moved
}

// give hands over network devices and a class of resctrl, once the process is
// recorded, so that delete finds what is to be removed.
func (b *newborn) give(l *specs.Linux) (err error) {
	if len(l.NetDevices) > 0 {
		ns, err := os.Open("/proc/" + strconv.Itoa(b.child.PID) + "/ns/net")
		if err != nil {
			return err
		}
		defer ns.Close()
		if b.given.devices, err = netdev.Move(l.NetDevices, ns); err != nil {
			return err
		}
	}
	if l.IntelRdt == nil {
		return nil
	}
	fs, err := rdt.Find()
	if err != nil {
		return err
	}
	if b.container.Rdt, err = fs.Enter(b.container.ID, b.child.PID, l.IntelRdt); err != nil {
		return err
	}
	return b.container.save()
}

// takeBack is give undone, before the process ends and its namespace with it.
func (b *newborn) takeBack() error {
	err := errors.Join(b.given.devices.Undo(), b.given.devices.Close())
	b.given.devices = nil
	return err
}
