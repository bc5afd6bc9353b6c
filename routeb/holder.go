package routeb

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// holder names a process that has the file open, as " (held by process 123, name)"; "" where that cannot be told.
func holder(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != real {
			continue
		}
		proc := filepath.Dir(filepath.Dir(link))
		name, err := os.ReadFile(filepath.Join(proc, "comm"))
		if err != nil || filepath.Base(proc) == fmt.Sprint(os.Getpid()) {
			continue
		}
		return fmt.Sprintf(" (held by process %s, %s)", filepath.Base(proc), strings.TrimSpace(string(name)))
	}
	return ""
}
