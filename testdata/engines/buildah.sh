#!/bin/sh
# Buildah, by a normal user, with --isolation oci and a runtime. See lib.sh.
. "$(dirname "$0")/lib.sh"

b() { buildah "$@"; }

r() { buildah run --network none "$@"; }

prepare() {
	export BUILDAH_ISOLATION=oci BUILDAH_RUNTIME="$2" CONTAINERS_STORAGE_CONF="$WORK/storage.conf"
	cat >"$CONTAINERS_STORAGE_CONF" <<-END
		[storage]
		driver = "overlay"
		graphroot = "$WORK/storage"
		runroot = "$XDG_RUNTIME_DIR/storage"
	END
	root "$WORK/root"
	base=$(b from scratch)
	b add -q "$base" "$WORK/root" /
	b config --cmd /bin/sh --env PATH=/bin "$base"
	b commit -q --rm "$base" box
}

ran() {
	id=$(b from --pull-never box)
	same hi "$(r --isolation oci --runtime "$BUILDAH_RUNTIME" "$id" -- echo hi)"
	exits 7 r "$id" -- sh -c 'exit 7'
	same twelve "$(echo twelve | r "$id" -- cat)"
	has 'Seccomp:.2' r "$id" -- cat /proc/self/status
	has '/dev/pts/0' terminal buildah run --network none -t "$id" -- tty
	b rm "$id"
}

mounted() {
	id=$(b from --pull-never box)
	mkdir -p "$WORK/volume"
	r -v "$WORK/volume:/data" "$id" -- sh -c 'echo kept >/data/file'
	same kept "$(cat "$WORK/volume/file")"
	same 1000 "$(r --user 1000 "$id" -- id -u)"
	r "$id" -- sh -c 'echo committed >/file'
	same committed "$(r "$id" -- cat /file)"
	b rm "$id"
}

staged() {
	mkdir -p "$WORK/context"
	cat >"$WORK/context/Containerfile" <<-'END'
		FROM localhost/box AS first
		ARG word=none
		RUN mkdir /out && echo "$word $(id -u)" >/out/file && chown 33:33 /out/file
		FROM localhost/box
		COPY --from=first /out/file /kept
		RUN --mount=type=tmpfs,target=/scratch touch /scratch/x && stat -c %u /kept >>/kept
		USER 1000
		RUN test "$(id -u)" = 1000
	END
	b bud -q --isolation oci --runtime "$BUILDAH_RUNTIME" --network none --build-arg word=said -t staged "$WORK/context"
	id=$(b from --pull-never staged)
	# The owner stays, as in the first stage.
	same 'said 0 33 ' "$(r --user 0 "$id" -- cat /kept | tr '\n' ' ')"
	b rm "$id"
}

failed() {
	printf 'FROM localhost/box\nRUN exit 9\n' >"$WORK/Failing"
	has 'exit status 9' b bud --network none -f "$WORK/Failing" "$WORK/root"
}

main() {
	prepare "$@" >"$WORK/prepare" 2>&1 || {
		cat "$WORK/prepare" >&2
		exit 1
	}
	feature 'run, status, stdin, -t, seccomp' ran
	feature 'run -v, --user, changes stay' mounted
	feature 'multi-stage build' staged
	feature 'a failing RUN' failed
	b rm -a >/dev/null 2>&1
	unshare --map-root-user --map-auto rm -rf "$WORK/storage"
}

case $1 in
--feature) "$2" ;;
--version) buildah --version | sed 's/.*version \([^ ]*\).*/\1/' ;;
*) main "$@" ;;
esac
