// Command hello is the smallest useful Go program: the floor that package
// initialisation and the Go runtime set for every command of airplant.
package main

import "os"

func main() {
	if _, err := os.Stdout.WriteString("hello\n"); err != nil {
		os.Exit(1)
	}
}
