package main_test

// What differs from runc in many places.
const (
	ungrouped = "on a host of version 1 a container has no cgroup that nothing asks for"
	unknown   = "runc records a container after these hooks, and does not know it yet"
)

// stateNotes explain where airplant differs from runc, by verb and state.
var stateNotes = map[string]string{
	"state, creating":                 unknown,
	"events --stats, created":         ungrouped,
	"events --stats, running":         ungrouped,
	"events --stats, paused":          ungrouped,
	"update --pids-limit, created":    ungrouped,
	"update --pids-limit, running":    ungrouped,
	"update --pids-limit, paused":     ungrouped,
	"list, creating":                  unknown,
	"spec, creating":                  unknown,
	"features, creating":              unknown,
	"delete -f, creating":             "runc reports success and removes nothing; whoever creates the container has to end",
	"exec --ignore-paused -d, paused": "runc's process joins the frozen cgroup and is never seen to begin",
}
