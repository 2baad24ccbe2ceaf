// A listener in Go. At the signal it becomes the program that its arguments name, which reads.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	came := make(chan os.Signal, 1)
	signal.Notify(came, syscall.SIGUSR1)
	fmt.Printf("# Listening on PID=%d\n", os.Getpid())
	<-came
	panic(syscall.Exec(os.Args[1], os.Args[1:], os.Environ()))
}
