// Package harden shields the process that holds a software key from the rest
// of the machine. Every step is best effort: each function says what it did and
// what the system refused, and none stops the process.
//
// What it is for: a meter program that was broken into, under the same user,
// shall not be able to read the key out of the process beside it, and a flaw in
// that process shall not reach anything but its own files. Root can do both.
package harden

import (
	"syscall"

	"github.com/meterseal/meterseal/secureelement"
)

// Process is the first step, before any secret is read: neither a core file
// nor a debugger of the same user gets at the memory.
func Process() []secureelement.Measure {
	core := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	return []secureelement.Measure{measure("no-core", "RLIMIT_CORE 0", core), dumpable()}
}

// Directory leaves dir as the only place of the file system that can be
// opened. It must come before the files in it are opened.
func Directory(dir string) secureelement.Measure { return directory(dir) }

// Memory keeps what is in memory from now on out of the swap. It must come
// after memory that is needed only once was given back.
func Memory() secureelement.Measure { return memory() }

// Calls is the last step: from now on nothing can be opened, started, traced
// or connected. What is open stays usable.
func Calls() []secureelement.Measure { return calls() }

// measure is applied if err is nil; else its detail is why not.
func measure(name, detail string, err error) secureelement.Measure {
	if err != nil {
		return secureelement.Measure{Name: name, Detail: err.Error()}
	}
	return secureelement.Measure{Name: name, Applied: true, Detail: detail}
}
