package device

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

const (
	socketName = "event.sock"
	// maxSocketPath is what fits sun_path with its terminating zero on Linux.
	maxSocketPath = 107
)

// socketPath returns a name of the event socket that a Unix socket address can
// hold, however deep the state directory lies: on Linux one relative to an open
// descriptor of the directory. done is called when the name is no longer used.
func socketPath(dir string) (path string, done func(), err error) {
	path = filepath.Join(dir, socketName)
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("device: event socket %s: a path of %d bytes, at most %d fit", path, len(path), maxSocketPath)
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, fmt.Errorf("device: event socket: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName), func() { d.Close() }, nil
}
