package dongle

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// Dongle is a virtual module. It keeps what a module keeps in flash memory; everything else is lost with its power.
type Dongle struct {
	cfg     Config
	profile profile
	faults  *injector

	flash flash // owned by the loop while there is one

	mu    sync.Mutex // guards what follows
	loop  *loop      // of the Serve that runs; nil = none
	radio *radio
	off   func() // cuts the power
}

// ErrUnplugged is what Serve returns when the fault of that name hits.
var ErrUnplugged = errors.New("dongle: unplugged")

// outage is how long an unplugged dongle is away, in its own time.
const outage = 3 * time.Second

// New makes a dongle. It starts nothing.
func New(cfg Config) (*Dongle, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Dongle{cfg: cfg, profile: profiles[cfg.Model], faults: newInjector(cfg.Faults)}
	p := &d.profile
	if cfg.Version != "" {
		p.version = cfg.Version
	}
	if cfg.Firmware != "" {
		p.firmware = cfg.Firmware
	}
	p.extraLines = p.extraLines || cfg.ExtraLines
	if p.product && cfg.Data != "" {
		p.hex = cfg.Data == "hex"
	}
	d.flash = newFlash(cfg, *p)
	return d, nil
}

// Serve powers the dongle up and runs it on a serial line until ctx ends, the line fails or the dongle is unplugged. It
// closes the line. It returns nil when ctx has ended, ErrUnplugged, or what the line failed with. One Serve may run at a
// time.
func (d *Dongle) Serve(ctx context.Context, line io.ReadWriteCloser) error {
	power, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.mu.Lock()
	if d.loop != nil {
		d.mu.Unlock()
		return errors.Join(errors.New("dongle: runs already"), line.Close())
	}
	l := newLoop(d.cfg.Speed)
	r := &radio{loop: l, cfg: d.cfg, faults: d.faults}
	out := newOutput(l, line, &d.flash)
	unplug := func() { cancel(ErrUnplugged) }
	var lang language = newText(r, d.profile, &d.flash, out, d.cfg.EchoOff, unplug)
	if d.profile.binary {
		lang = newBinary(r, out, unplug)
	}
	r.host = lang
	d.loop, d.radio, d.off = l, r, unplug
	d.mu.Unlock()

	var closing sync.Once
	closeLine := func() { closing.Do(func() { _ = line.Close() }) }
	l.spawn(func() { d.read(line, lang, l, cancel) })
	l.run(power)
	r.end()
	closeLine()
	l.tasks.Wait()

	d.mu.Lock()
	defer d.mu.Unlock()
	d.loop, d.radio, d.off = nil, nil, nil
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(power)
}

// rated is a line that knows at which rate the host uses it.
type rated interface{ Baud() int }

// language is what a module speaks to its host.
type language interface {
	host
	feed(b []byte)
}

func (d *Dongle) read(line io.Reader, lang language, l *loop, cancel context.CancelCauseFunc) {
	b := make([]byte, 4096)
	for {
		n, err := line.Read(b)
		if n > 0 {
			data := append([]byte(nil), b[:n]...)
			heard := func() { lang.feed(data) }
			if at, ok := line.(rated); ok {
				baud := at.Baud()
				heard = func() {
					d.flash.garble(data, baud)
					lang.feed(data)
				}
			}
			if !l.post(heard) {
				return
			}
		}
		if err != nil {
			cancel(err)
			return
		}
	}
}

// Run serves on one line after another: plug gives the line, and is called again 3 s after the dongle was unplugged. It
// returns nil when ctx has ended.
func (d *Dongle) Run(ctx context.Context, plug func() (io.ReadWriteCloser, error)) error {
	for {
		line, err := plug()
		if err != nil {
			return err
		}
		if err := d.Serve(ctx, line); !errors.Is(err, ErrUnplugged) {
			return err
		}
		select {
		case <-time.After(time.Duration(float64(outage) / d.cfg.Speed)):
		case <-ctx.Done():
			return nil
		}
	}
}

// Inject has a fault hit at its next occasion. Unplug hits at once; so do Limit and the ends of a session
// while there is one.
func (d *Dongle) Inject(f Fault) {
	d.do(func(r *radio) {
		if r == nil || r.session == nil && f != Unplug {
			d.faults.forced[f]++
			return
		}
		s := r.session
		switch f {
		case Unplug:
			d.off()
		case Forget:
			s.deaf = true
			s.meter.release(r.cfg.MAC)
		case Limit:
			r.limitFor()
		case End29:
			r.expire(s)
		case Lapse:
			r.lapse(s)
		default:
			if event, ok := endings[f]; ok {
				r.finish(event)
				return
			}
			d.faults.forced[f]++
		}
	})
}

var endings = map[Fault]byte{End24: 0x24, End26: 0x26, End27: 0x27, End28: 0x28}

// do runs f in the loop's goroutine. Without a loop it runs f itself, with no radio.
func (d *Dongle) do(f func(*radio)) {
	d.mu.Lock()
	l, r := d.loop, d.radio
	if l == nil {
		f(nil)
	}
	d.mu.Unlock()
	if l == nil {
		return
	}
	done := make(chan struct{})
	if l.post(func() { f(r); close(done) }) {
		<-done
	}
}

// FlashWrites returns how often hosts had the dongle write to its flash memory, which wears.
func (d *Dongle) FlashWrites() (n int) {
	d.do(func(*radio) { n = d.flash.writes })
	return n
}

// Joined returns the meter with which the dongle has a session; nil if there is none.
func (d *Dongle) Joined() (m *Meter) {
	d.do(func(r *radio) {
		if r != nil && r.session != nil && !r.session.expired {
			m = r.session.meter
		}
	})
	return m
}
