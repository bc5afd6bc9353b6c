//go:build !(linux || darwin || freebsd)

package dongle

import (
	"errors"
	"fmt"
	"io"
)

// PTY is a pseudo-terminal, which this system does not have.
type PTY struct{ io.ReadWriteCloser }

// OpenPTY fails with an error that wraps errors.ErrUnsupported.
func OpenPTY(string) (*PTY, error) {
	return nil, fmt.Errorf("dongle: pseudo-terminal: %w", errors.ErrUnsupported)
}

// Name returns "".
func (*PTY) Name() string { return "" }
