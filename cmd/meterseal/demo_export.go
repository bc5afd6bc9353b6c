package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// export leaves the evidence of the path as a file, with the meter's public key
// beside it, and says how anybody verifies it.
func (d *demo) export(ctx context.Context) error {
	bundle, err := d.mdms.Export(ctx, d.meter.id)
	if err != nil {
		return err
	}
	key, err := publicPEM(d.meter.key())
	if err != nil {
		return err
	}
	bundleFile, keyFile := filepath.Join(d.dir, "evidence.mseal"), filepath.Join(d.dir, keyName)
	if err := errors.Join(os.WriteFile(bundleFile, bundle, 0o644), os.WriteFile(keyFile, key, 0o644)); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	d.say("\nexport: the MDMS gives the evidence to an auditor, who needs the meter's public key and nothing else\n")
	d.say("  %s verify %s --key %s", thisProgram(), bundleFile, keyFile)
	return nil
}

// thisProgram is how a person starts this program again. What "go run" has built
// is gone when it ends.
func thisProgram() string {
	self, err := os.Executable()
	switch {
	case err != nil:
		return "meterseal"
	case strings.Contains(self, string(filepath.Separator)+"go-build"):
		return "go run ./cmd/meterseal"
	}
	return self
}

// errNoReader ends a demo whose output nobody reads any more.
var errNoReader = errors.New("the output was closed: the demo ends early")

// untilClosed returns the demo's outputs in a form that ends ctx when one of them
// is closed, as "| head" does. The process lives on until it has cleaned up.
func untilClosed(ctx context.Context, outs ...*io.Writer) (_ context.Context, release func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE) // which a write to a closed standard output would die of
	for _, out := range outs {
		if *out != nil {
			*out = &closable{*out, cancel}
		}
	}
	return ctx, func() {
		signal.Stop(broken)
		cancel(nil)
	}
}

// closable is a writer that tells when nobody reads what it writes.
type closable struct {
	io.Writer
	closed context.CancelCauseFunc
}

// Write implements io.Writer.
func (w *closable) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		w.closed(errNoReader)
	}
	return n, err
}
