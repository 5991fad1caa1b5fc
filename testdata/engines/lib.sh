# What the scripts of this folder share. Each is started by run.sh as
#
#	ENGINE.sh NAME PROGRAM    for a runtime's name and program
#
# with WORK, a folder of its own, in the environment, and prints a line for
# each feature: the name, a tab, and "ok" or "FAIL" with the reason. A feature is
# a function that checks an effect; it runs in a shell of its own, ends at the
# first failing command, and has LIMIT seconds.
set -u

# feature NAME FUNCTION
feature() {
	case " ${ONLY:-$2} " in *" $2 "*) ;; *) return 0 ;; esac
	if timeout -k 5 "${LIMIT:-90}" sh -eu "$0" --feature "$2" >"$WORK/log" 2>&1 </dev/null; then
		printf '%s\tok\n' "$1"
	else
		status=$?
		[ $status -ne 124 ] || echo "no end in ${LIMIT:-90} s" >>"$WORK/log"
		[ -z "${VERBOSE-}" ] || sed "s/^/$2: /" "$WORK/log" >&2
		printf '%s\tFAIL %s\n' "$1" "$(reason)"
		tidy >/dev/null 2>&1
	fi
}

# tidy takes away what a failed feature leaves.
tidy() { :; }

# reason is the last line of the log, short enough for a table.
reason() { grep -av '^ *$' "$WORK/log" | tail -n 1 | tr '\t|' '  ' | cut -c 1-160; }

fail() {
	echo "$*"
	exit 1
}

# same WANT GOT
same() { [ "$1" = "$2" ] || fail "got $(printf %s "$2" | tr '\n' ' '), not $1"; }

# exits STATUS COMMAND...
exits() {
	want=$1 got=0
	shift
	"$@" || got=$?
	[ $got -eq "$want" ] || fail "exit status $got, not $want, of $*"
}

# await COMMAND... tries for ten seconds until the command succeeds.
await() {
	for _ in $(seq 100); do
		("$@") && return
		sleep 0.1
	done
	fail "in vain: $*"
}

# has TEXT COMMAND... succeeds when a line of the command's output has the text.
has() {
	text=$1
	shift
	said=$("$@" 2>&1) || true
	printf '%s\n' "$said" | grep -qe "$text" || fail "no \"$text\" in: $(printf '%s' "$said" | tail -n 1)"
}

# root makes a root filesystem of busybox in a folder.
root() {
	mkdir -p "$1/bin" "$1/etc" "$1/proc" "$1/sys" "$1/dev" "$1/tmp" "$1/root"
	chmod 1777 "$1/tmp"
	cp "$(command -v busybox)" "$1/bin/busybox"
	for applet in $("$1/bin/busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$1/bin/$applet"
	done
	echo root:x:0:0:root:/root:/bin/sh >"$1/etc/passwd"
	echo root:x:0: >"$1/etc/group"
}

# terminal COMMAND... runs a command line with a terminal and prints what it
# shows there.
terminal() { script -qec "$*" /dev/null | tr -d '\r'; }

# blob LAYOUT FILE stores a file under its digest and prints that.
blob() {
	sum=$(sha256sum "$2" | cut -d' ' -f1)
	mv "$2" "$1/blobs/sha256/$sum"
	echo "$sum"
}

# image NAME FOLDER CONFIG FILE archives a root filesystem as an image.
image() {
	layout=$(mktemp -d "$WORK/layout.XXXXXX")
	mkdir -p "$layout/blobs/sha256"
	tar -C "$2" -cf "$layout/layer" .
	layer=$(blob "$layout" "$layout/layer")
	size() { stat -c %s "$layout/blobs/sha256/$1"; }
	jq -n --arg layer "sha256:$layer" --arg arch "$(dpkg --print-architecture)" --argjson config "$3" \
		'{architecture: $arch, os: "linux", config: $config, rootfs: {type: "layers", diff_ids: [$layer]}}' >"$layout/config"
	config=$(blob "$layout" "$layout/config")
	media=application/vnd.oci.image
	jq -n --arg m $media --arg layer "sha256:$layer" --arg config "sha256:$config" \
		--argjson ls "$(size "$layer")" --argjson cs "$(size "$config")" \
		'{schemaVersion: 2, mediaType: ($m + ".manifest.v1+json"),
		  config: {mediaType: ($m + ".config.v1+json"), digest: $config, size: $cs},
		  layers: [{mediaType: ($m + ".layer.v1.tar"), digest: $layer, size: $ls}]}' >"$layout/manifest"
	manifest=$(blob "$layout" "$layout/manifest")
	jq -n --arg m $media --arg d "sha256:$manifest" --argjson s "$(size "$manifest")" --arg name "$1" \
		'{schemaVersion: 2, manifests: [{mediaType: ($m + ".manifest.v1+json"), digest: $d, size: $s,
		  annotations: {"io.containerd.image.name": $name}}]}' >"$layout/index.json"
	echo '{"imageLayoutVersion": "1.0.0"}' >"$layout/oci-layout"
	tar -C "$layout" -cf "$4" .
	rm -r "$layout"
}

# serve NAME PROGRAM starts a containerd of our own, as root, with a runtime.
serve() {
	cat >"$WORK/containerd.toml" <<-END
		version = 2
		root = "$WORK/containerd"
		state = "$WORK/state"
		disabled_plugins = ["io.containerd.internal.v1.opt"]
		[grpc]
		  address = "$WORK/c.sock"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "localhost/pause:1"
		  netns_mounts_under_state_dir = true
		  disable_hugetlb_controller = true
		  disable_apparmor = true
		  restrict_oom_score_adj = true
		  tolerate_missing_hugetlb_controller = true
		  [plugins."io.containerd.grpc.v1.cri".containerd]
		    default_runtime_name = "$1"
		    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$1]
		      runtime_type = "io.containerd.runc.v2"
		      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.$1.options]
		        BinaryName = "$2"
		        Root = "$WORK/runtime"
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "/usr/lib/cni"
		    conf_dir = "$WORK/cni"
	END
	containerd -c "$WORK/containerd.toml" -l warn >"$WORK/containerd.log" 2>&1 &
	echo $! >"$WORK/containerd.pid"
	await ctr -a "$WORK/c.sock" version >/dev/null
	image localhost/box:1 "$WORK/root" '{"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]}' "$WORK/box.tar"
	ctr -a "$WORK/c.sock" -n "$GROUP" image import "$WORK/box.tar" >/dev/null
}
