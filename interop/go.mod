module github.com/meterseal/meterseal/interop

go 1.26.0

require (
	github.com/hnw/go-smartmeter v0.1.0
	github.com/meterseal/meterseal v0.0.0
	golang.org/x/sys v0.49.0
)

require (
	github.com/creack/pty v1.1.24 // indirect
	github.com/goburrow/serial v0.1.0 // indirect
	github.com/tarm/serial v0.0.0-20180830185346-98f6abe2eb07 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/term v0.47.0 // indirect
)

replace github.com/meterseal/meterseal => ../
