package plan

import (
	"fmt"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// mountOptions is the meaning of a mount's option strings.
type mountOptions struct {
	bind, recursive bool
	set, clear      uint64 // MOUNT_ATTR_…, of this mount
	setAll          uint64 // of this mount and those below it
	clearAll        uint64
	propagation     []uint64 // MS_SHARED …, with MS_REC
	data            []string // key=value or key, for the file system
}

// attrOption is an option that sets or clears attributes. With an r before its
// name it acts on all mounts below too.
type attrOption struct{ set, clear uint64 }

var attrOptions = map[string]attrOption{
	"ro":          {set: unix.MOUNT_ATTR_RDONLY},
	"rw":          {clear: unix.MOUNT_ATTR_RDONLY},
	"nosuid":      {set: unix.MOUNT_ATTR_NOSUID},
	"suid":        {clear: unix.MOUNT_ATTR_NOSUID},
	"nodev":       {set: unix.MOUNT_ATTR_NODEV},
	"dev":         {clear: unix.MOUNT_ATTR_NODEV},
	"noexec":      {set: unix.MOUNT_ATTR_NOEXEC},
	"exec":        {clear: unix.MOUNT_ATTR_NOEXEC},
	"nodiratime":  {set: unix.MOUNT_ATTR_NODIRATIME},
	"diratime":    {clear: unix.MOUNT_ATTR_NODIRATIME},
	"nosymfollow": {set: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"symfollow":   {clear: unix.MOUNT_ATTR_NOSYMFOLLOW},
	"noatime":     {set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME},
	"strictatime": {set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME},
}

var propagationOptions = map[string]uint64{
	"shared": unix.MS_SHARED, "slave": unix.MS_SLAVE, "private": unix.MS_PRIVATE, "unbindable": unix.MS_UNBINDABLE,
	"rshared": unix.MS_REC | unix.MS_SHARED, "rslave": unix.MS_REC | unix.MS_SLAVE,
	"rprivate": unix.MS_REC | unix.MS_PRIVATE, "runbindable": unix.MS_REC | unix.MS_UNBINDABLE,
}

// plainOptions change nothing: they are the kernel's defaults. relatime stays
// out of attrOptions because clearing a locked noatime is refused.
var plainOptions = map[string]bool{
	"":         true, // buildah sends one for --volume without options
	"defaults": true, "relatime": true, "norelatime": true, "nostrictatime": true, "atime": true, "async": true, "nomand": true,
	"nolazytime": true, "loud": true, "noiversion": true, "rrelatime": true,
}

// unsupportedOptions are named in an error: what they ask for is not done yet.
var unsupportedOptions = map[string]bool{
	"tmpcopyup": true, "idmap": true, "ridmap": true, "remount": true, "copy-symlink": true, "src-nofollow": true, "dest-nofollow": true,
}

func parseOptions(m *specs.Mount) (mountOptions, error) {
	var o mountOptions
	o.bind = m.Type == "bind"
	for _, opt := range m.Options {
		switch {
		case opt == "bind" || opt == "rbind":
			o.bind, o.recursive = true, o.recursive || opt == "rbind"
		case plainOptions[opt]:
		case unsupportedOptions[opt]:
			return o, fmt.Errorf("mount option %q is not supported yet", opt)
		case propagationOptions[opt] != 0:
			o.propagation = append(o.propagation, propagationOptions[opt])
		default:
			o.attrOrData(opt)
		}
	}
	o.clear &^= o.set &^ unix.MOUNT_ATTR__ATIME
	return o, nil
}

func (o *mountOptions) attrOrData(opt string) {
	if a, ok := attrOptions[opt]; ok {
		o.set, o.clear = o.set&^a.clear|a.set, o.clear&^a.set|a.clear
		return
	}
	if a, ok := attrOptions[strings.TrimPrefix(opt, "r")]; ok && opt[0] == 'r' {
		o.setAll, o.clearAll = o.setAll&^a.clear|a.set, o.clearAll&^a.set|a.clear
		return
	}
	o.data = append(o.data, opt)
}

// checkIDs refuses uid= and gid= options of ids that the new user namespace
// does not have; the kernel would only say "invalid argument".
func (b *builder) checkIDs(m *specs.Mount, o *mountOptions) error {
	if !b.created[specs.UserNamespace] {
		return nil
	}
	for _, d := range o.data {
		key, value, _ := strings.Cut(d, "=")
		list := b.plan.Map.UIDs
		switch key {
		case "gid":
			list = b.plan.Map.GIDs
		case "uid":
		default:
			continue
		}
		id, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return fmt.Errorf("mount %s: option %q: %w", m.Destination, d, err)
		}
		if !mapped(list, uint32(id)) {
			return fmt.Errorf("mount %s: option %q: the id is not mapped in the user namespace", m.Destination, d)
		}
	}
	return nil
}
