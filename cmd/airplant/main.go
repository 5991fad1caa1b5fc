// Command airplant runs OCI containers as a normal user.
package main

func main() {}
