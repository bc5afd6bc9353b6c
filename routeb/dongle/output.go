package dongle

import (
	"io"
	"slices"
	"time"
)

// output writes to the host at the pace of the serial line, in a goroutine of its own. What is said in one go comes as one
// piece, as behind the latency timer of a USB bridge, on which some programs rely. What a host does not read is lost, as
// on a line without flow control.
type output struct {
	queue chan piece
	loop  *loop
	line  io.Writer
	flash *flash // of the loop: run does not look at it
}

type piece struct {
	b     []byte
	takes time.Duration // on the serial line
	alone bool          // is not joined to others
}

// maxBurst bounds what is joined, in bytes.
const maxBurst = 4096

func newOutput(l *loop, w io.Writer, fl *flash) *output {
	o := &output{queue: make(chan piece, 1024), loop: l, line: w, flash: fl}
	l.spawn(o.run)
	return o
}

func (o *output) run() {
	for {
		select {
		case p := <-o.queue:
			burst, ok := o.gather(p)
			if !ok {
				return
			}
			if _, err := o.line.Write(burst); err != nil {
				return
			}
		case <-o.loop.ended:
			return
		}
	}
}

// gather waits while p is on the serial line, and adds what is queued meanwhile; ok is false if the loop has ended.
func (o *output) gather(p piece) (burst []byte, ok bool) {
	for {
		burst = append(burst, p.b...)
		select {
		case <-time.After(o.loop.scale(p.takes)):
		case <-o.loop.ended:
			return nil, false
		}
		if p.alone || len(burst) > maxBurst {
			return burst, true
		}
		select {
		case p = <-o.queue:
		default:
			return burst, true
		}
	}
}

// write queues bytes.
func (o *output) write(b []byte) { o.queuePiece(b, false) }

// writeOver queues bytes as they come over a line with faults.
func (o *output) writeOver(f *injector, b []byte) {
	if f.hits(LostByte) {
		i := f.rand(LostByte).IntN(len(b))
		b = append(b[:i:i], b[i+1:]...)
	}
	if f.hits(Split) {
		for i := range b {
			o.queuePiece(b[i:i+1], true)
		}
		return
	}
	o.write(b)
}

func (o *output) queuePiece(b []byte, alone bool) {
	if at, ok := o.line.(rated); ok && o.flash.baud != 0 {
		b = slices.Clone(b)
		o.flash.garble(b, at.Baud())
	}
	p := piece{b, time.Duration(len(b)) * o.flash.byteTime(), alone}
	select {
	case o.queue <- p:
	default:
	}
}
