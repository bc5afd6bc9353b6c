package dongle

import (
	"io"
	"time"
)

// output writes to the host at the pace of the serial line, in a goroutine of its own. What a host does not read is lost,
// as on a line without flow control.
type output struct {
	queue chan []byte
	loop  *loop
	baud  int
}

func newOutput(l *loop, w io.Writer, baud int) *output {
	o := &output{queue: make(chan []byte, 1024), loop: l, baud: baud}
	l.spawn(func() { o.run(w) })
	return o
}

func (o *output) run(w io.Writer) {
	for {
		select {
		case b := <-o.queue:
			if _, err := w.Write(b); err != nil {
				return
			}
			select {
			case <-time.After(o.loop.scale(time.Duration(len(b)*10) * time.Second / time.Duration(o.baud))):
			case <-o.loop.ended:
				return
			}
		case <-o.loop.ended:
			return
		}
	}
}

// write queues bytes that are written at once.
func (o *output) write(b []byte) {
	select {
	case o.queue <- b:
	default:
	}
}
