// Command meterseal is a smart meter whose event log cannot be altered
// unnoticed, and what people need to use one: the meter, the controller that
// carries its evidence, the MDMS that verifies it, and an offline verifier.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
