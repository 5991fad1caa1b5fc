# AppArmor: a container's process, and each that is executed in it, has the
# profile that the configuration names; one that is not loaded is an error.
. ./lib.sh
work=$(mktemp -d)
chmod 755 "$work"
oci() { $airplant oci --root "$work/state" "$@"; }
b=$work/bundle
bundle "$b"

cat >"$work/profile" <<-'EOF'
	#include <tunables/global>
	profile airplant-check flags=(attach_disconnected, mediate_deleted) {
	  capability,
	  signal,
	  file,
	  deny /secret r,
	}
EOF
apparmor_parser -r "$work/profile" || fail "the profile cannot be loaded"

echo secret >"$b/rootfs/secret"
profile=', "apparmorProfile": "airplant-check"'

config "$b" '["cat", "/proc/self/attr/current"]' "$profile"
same "run" "$(oci run --bundle "$b" c 2>&1)" "airplant-check (enforce)"
config "$b" '["cat", "/secret"]' "$profile"
same "a file that the profile denies" "$(oci run --bundle "$b" c 2>&1)" "cat: can't open '/secret': Permission denied"
config "$b" '["cat", "/secret"]' ""
same "the same file without it" "$(oci run --bundle "$b" c 2>&1)" "secret"
config "$b" '["cat", "/proc/self/attr/current"]' ', "apparmorProfile": "unconfined"'
same "unconfined" "$(oci run --bundle "$b" c 2>&1)" "unconfined"
config "$b" '["true"]' ', "apparmorProfile": "not-loaded"'
case $(oci run --bundle "$b" c 2>&1) in
"airplant: error: set process.apparmorProfile to not-loaded: write: no such file or directory"*": the profile is not loaded") ;;
*) same "a profile that is not loaded" "$(oci run --bundle "$b" c 2>&1)" "an error that says so" ;;
esac

# exec: the configured profile, and one of its own.
config "$b" '["sleep", "1000"]' "$profile"
oci run -d --bundle "$b" c
same "exec" "$(oci exec c cat /proc/self/attr/current 2>&1)" "airplant-check (enforce)"
same "exec --apparmor" "$(oci exec --apparmor unconfined c cat /proc/self/attr/current 2>&1)" "unconfined"
same "the first process" "$(cat /proc/"$(oci state c | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')"/attr/current)" "airplant-check (enforce)"
oci delete -f c

# A user, in a user namespace.
chown -R 4242:4242 "$b"
mkdir -m 700 "$work/user" && chown 4242:4242 "$work/user"
config "$b" '["cat", "/proc/self/attr/current"]' "$profile" ', "uidMappings": [{"containerID": 0, "hostID": 4242, "size": 1}], "gidMappings": [{"containerID": 0, "hostID": 4242, "size": 1}]' "" ', {"type": "user"}'
same "a user's container" "$(setpriv --reuid 4242 --regid 4242 --clear-groups $airplant oci --root "$work/user" run --bundle "$b" c 2>&1)" "airplant-check (enforce)"
ended
