//go:build !small

package main

// peopleCommands are the commands for people, and those of the worker.
func (e *env) peopleCommands() []command {
	list := []command{
		{"run", "Run a program in a new container.", func() any { return &runCmd{} }},
		{"pull", "Get an image into the store.", func() any { return &pullCmd{} }},
		{"login", "Log in to a registry.", func() any { return &loginCmd{} }},
		{"logout", "Log out of a registry.", func() any { return &logoutCmd{} }},
		{"images", "List the images of the store.", func() any { return &imagesCmd{} }},
		{"rmi", "Remove images from the store.", func() any { return &rmiCmd{} }},
		{"tag", "Give an image a further name.", func() any { return &tagCmd{} }},
		{"inspect", "Print all about images, as JSON or by a template.", func() any { return &inspectCmd{} }},
		{"history", "Tell how an image was made.", func() any { return &historyCmd{} }},
		{"manifest", "Look at manifests and indexes.", func() any { return &manifestCmd{} }},
		{"push", "Write an image to a registry.", func() any { return &pushCmd{} }},
		{"save", "Write images to an archive or a directory.", func() any { return &saveCmd{} }},
		{"load", "Get images from an archive or a directory.", func() any { return &loadCmd{} }},
		{"import", "Make an image of a root filesystem in a tar.", func() any { return &importCmd{} }},
		{"export", "Write the files of a container or an image as a tar.", func() any { return &exportCmd{} }},
		{"commit", "Make an image of what a container has changed.", func() any { return &commitCmd{} }},
		{"diff", "List what a container or an image has changed.", func() any { return &diffCmd{} }},
		{"rm", "Remove containers.", func() any { return &rmCmd{} }},
		{"prune", "Remove what no image and no container needs.", func() any { return &pruneCmd{} }},
		{"explain", "Print the system calls that a container is made of.", func() any { return &explainCmd{} }},
		{"doctor", "Tell what this host allows.", func() any { return &doctorCmd{} }},
		{"unshare", "Run a program with the ids of our files.", func() any { return &unshareCmd{} }},
		{"system", "Manage all images and containers.", func() any { return &systemCmd{} }},
		{"oci", "The command line for engines; see `airplant oci --help`.", func() any { return &struct{}{} }},
	}
	if e.worker {
		list = append(list,
			command{"remove-tree", "", func() any { return &removeTreeCmd{} }},
			command{"errand", "", func() any { return &errandCmd{} }},
		)
	}
	return list
}
