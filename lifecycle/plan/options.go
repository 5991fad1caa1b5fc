package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"airplant/internal/lookup"

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
	super           []string // flags of any file system
	data            []string // key=value or key, for the file system

	remount     bool // change what is mounted there already
	copyUp      bool // a new file system begins with what it covers
	copyLink    bool // a source that is a symbolic link is copied, not mounted
	linkSource  bool // a source that is a symbolic link is mounted itself
	linkTarget  bool // a destination that is a symbolic link is not followed
	idmap       string
	idmapped    bool
	idmapAlsoIn bool // with the mounts below
}

// attrOption is an option that sets or clears attributes. With an r before its
// name it acts on all mounts below too.
type attrOption struct{ set, clear uint64 }

var attrOptions = lookup.Table[string, attrOption]{
	{"ro", attrOption{set: unix.MOUNT_ATTR_RDONLY}},
	{"rw", attrOption{clear: unix.MOUNT_ATTR_RDONLY}},
	{"nosuid", attrOption{set: unix.MOUNT_ATTR_NOSUID}},
	{"suid", attrOption{clear: unix.MOUNT_ATTR_NOSUID}},
	{"nodev", attrOption{set: unix.MOUNT_ATTR_NODEV}},
	{"dev", attrOption{clear: unix.MOUNT_ATTR_NODEV}},
	{"noexec", attrOption{set: unix.MOUNT_ATTR_NOEXEC}},
	{"exec", attrOption{clear: unix.MOUNT_ATTR_NOEXEC}},
	{"nodiratime", attrOption{set: unix.MOUNT_ATTR_NODIRATIME}},
	{"diratime", attrOption{clear: unix.MOUNT_ATTR_NODIRATIME}},
	{"nosymfollow", attrOption{set: unix.MOUNT_ATTR_NOSYMFOLLOW}},
	{"symfollow", attrOption{clear: unix.MOUNT_ATTR_NOSYMFOLLOW}},
	{"noatime", attrOption{set: unix.MOUNT_ATTR_NOATIME, clear: unix.MOUNT_ATTR__ATIME}},
	{"strictatime", attrOption{set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME}},
}

// treeOptions act on all mounts below, and have no attribute of that name.
var treeOptions = lookup.Table[string, attrOption]{
	{"rrelatime", attrOption{clear: unix.MOUNT_ATTR__ATIME}},
	{"ratime", attrOption{clear: unix.MOUNT_ATTR__ATIME}},
	{"rnostrictatime", attrOption{clear: unix.MOUNT_ATTR__ATIME}},
	{"rnorelatime", attrOption{set: unix.MOUNT_ATTR_STRICTATIME, clear: unix.MOUNT_ATTR__ATIME}},
}

var propagationOptions = lookup.Table[string, uint64]{
	{"shared", unix.MS_SHARED},
	{"slave", unix.MS_SLAVE},
	{"private", unix.MS_PRIVATE},
	{"unbindable", unix.MS_UNBINDABLE},
	{"rshared", unix.MS_REC | unix.MS_SHARED},
	{"rslave", unix.MS_REC | unix.MS_SLAVE},
	{"rprivate", unix.MS_REC | unix.MS_PRIVATE},
	{"runbindable", unix.MS_REC | unix.MS_UNBINDABLE},
}

// superOptions are flags of the file system and not of the mount. For a bind
// mount the kernel ignores them (mount(2)).
var superOptions = []string{"sync", "dirsync", "lazytime", "mand"}

// plainOptions change nothing: they are the kernel's defaults, or mean nothing
// to it any more. relatime stays out of attrOptions because clearing a locked
// noatime is refused.
var plainOptions = []string{
	"", // buildah sends one for --volume without options
	"defaults", "relatime", "norelatime", "nostrictatime", "atime", "async", "nomand",
	"nolazytime", "loud", "silent", "iversion", "noiversion", "acl", "noacl",
}

// ownOptions are ours to do, and not the kernel's.
var ownOptions = lookup.Table[string, func(*mountOptions)]{
	{"bind", func(o *mountOptions) { o.bind = true }},
	{"rbind", func(o *mountOptions) { o.bind, o.recursive = true, true }},
	{"remount", func(o *mountOptions) { o.remount = true }},
	{"tmpcopyup", func(o *mountOptions) { o.copyUp = true }},
	{"copy-symlink", func(o *mountOptions) { o.copyLink = true }},
	{"src-nofollow", func(o *mountOptions) { o.linkSource = true }},
	{"dest-nofollow", func(o *mountOptions) {
		o.linkTarget = true
	}},
	{"idmap", func(o *mountOptions) { o.idmapped = true }},
	{"ridmap", func(o *mountOptions) { o.idmapped, o.idmapAlsoIn = true, true }},
}

func parseOptions(m *specs.Mount) (mountOptions, error) {
	var o mountOptions
	o.bind = m.Type == "bind"
	for _, opt := range m.Options {
		name, value, _ := strings.Cut(opt, "=")
		switch own := ownOptions.Get(opt); {
		case own != nil:
			own(&o)
		case name == "idmap" || name == "ridmap":
			ownOptions.Get(name)(&o)
			o.idmap = value
		case slices.Contains(plainOptions, opt):
		case slices.Contains(superOptions, opt):
			o.super = append(o.super, opt)
		case propagationOptions.Has(opt):
			o.propagation = append(o.propagation, propagationOptions.Get(opt))
		default:
			o.attrOrData(opt)
		}
	}
	o.clear &^= o.set &^ unix.MOUNT_ATTR__ATIME
	return o, o.agree(m)
}

// words are the options for the file system without a value. With a bind mount
// they are refused, because one may be meant to restrict. A value, as in
// mode=755, means the file system without doubt: the kernel passes it over
// (mount(2), MS_BIND), as engines' users are used to, and bind says so.
func (o *mountOptions) words() []string {
	return slices.DeleteFunc(slices.Clone(o.data), func(opt string) bool { return strings.Contains(opt, "=") })
}

// agree refuses options that mean nothing together.
func (o *mountOptions) agree(m *specs.Mount) error {
	switch {
	case o.bind && !o.remount && len(o.words()) > 0:
		return fmt.Errorf("option %q has no meaning for a bind mount", o.words()[0])
	case o.copyUp && (m.Type != "tmpfs" || o.bind):
		return fmt.Errorf("option \"tmpcopyup\" is for a tmpfs")
	case !o.bind && (o.copyLink || o.linkSource):
		return fmt.Errorf("options \"copy-symlink\" and \"src-nofollow\" are for bind mounts")
	case o.remount && (o.copyUp || o.copyLink || o.idmapped):
		return fmt.Errorf("option \"remount\" only changes attributes")
	}
	return nil
}

func (o *mountOptions) attrOrData(opt string) {
	a, ok := treeOptions.Find(opt)
	if !ok && opt != "" && opt[0] == 'r' {
		a, ok = attrOptions.Find(opt[1:])
	}
	if ok {
		o.setAll, o.clearAll = o.setAll&^a.clear|a.set, o.clearAll&^a.set|a.clear
		return
	}
	if a, ok := attrOptions.Find(opt); ok {
		o.set, o.clear = o.set&^a.clear|a.set, o.clear&^a.set|a.clear
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
