//go:build !linux

package harden

import (
	"runtime"

	"github.com/meterseal/meterseal/secureelement"
)

func dumpable() secureelement.Measure { return missing("not-dumpable") }

func directory(string) secureelement.Measure { return missing("landlock") }

func memory() secureelement.Measure { return missing("mlockall") }

func calls() []secureelement.Measure {
	return []secureelement.Measure{missing("seccomp"), missing("no-new-privs")}
}

func missing(name string) secureelement.Measure {
	return secureelement.Measure{Name: name, Detail: "not available on " + runtime.GOOS}
}
