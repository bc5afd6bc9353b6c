package dongle

import (
	"maps"
	"slices"
	"time"
)

// flash is what outlives a loss of power.
type flash struct {
	wopt, wuart byte
	baud        int     // the only rate in bit/s at which the module is understood; 0 = any
	saved       *memory // by SKSAVE; nil = nothing
	writes      int
}

// memory is what SKSAVE keeps.
type memory struct {
	reg   map[string]string
	ports [6]uint16
}

// bauds are the rates in bit/s that bits 0 to 2 of WUART stand for.
var bauds = []int{115200, 2400, 4800, 9600, 19200, 38400, 57600}

// gaps are the pauses between characters that bits 4 to 6 of WUART stand for.
var gaps = []time.Duration{
	0, 100 * time.Microsecond, 200 * time.Microsecond, 300 * time.Microsecond, 400 * time.Microsecond, 50 * time.Microsecond,
}

func newFlash(cfg Config, p profile) flash {
	f := flash{baud: cfg.Baud}
	if p.hex {
		f.wopt = 1
	}
	if cfg.Baud != 0 {
		f.wuart = byte(slices.Index(bauds, cfg.Baud))
	}
	return f
}

// byteTime is how long one byte takes on the serial line.
func (f *flash) byteTime() time.Duration {
	return 10*time.Second/time.Duration(bauds[f.wuart&7]) + gaps[f.wuart>>4&7]
}

// garble makes of bytes what the side makes of them that has set the line to another rate than the other.
func (f *flash) garble(b []byte, baud int) {
	if f.baud == 0 || f.baud == baud {
		return
	}
	for i := range b {
		b[i] |= 0x80
	}
}

func (t *text) writeOption(a []string) answer {
	v, ok := hexUpTo(a[0], 2, 0, 1)
	if !ok {
		return fail(wrongArgument)
	}
	t.flash.wopt = byte(v)
	t.flash.writes++
	return answer{}
}

// writeUART sets the rate for good, from the answer's end on.
func (t *text) writeUART(a []string) answer {
	v, ok := hexUpTo(a[0], 2, 0, 0xFF)
	if !ok || int(v&7) >= len(bauds) || int(v>>4&7) >= len(gaps) {
		return fail(wrongArgument)
	}
	t.flash.writes++
	return answer{then: func() {
		t.flash.wuart, t.flash.baud = byte(v), bauds[v&7]
	}}
}

func (t *text) save([]string) answer {
	t.flash.saved = &memory{reg: maps.Clone(t.reg), ports: t.setPorts}
	t.flash.writes++
	return answer{}
}

func (t *text) load([]string) answer {
	if t.flash.saved == nil {
		return fail(cannot)
	}
	t.recall()
	return answer{}
}

// recall loads what is saved. A single-stack module opens the UDP ports at power-up only.
func (t *text) recall() {
	t.reg, t.setPorts = maps.Clone(t.flash.saved.reg), t.flash.saved.ports
	if t.dual {
		t.udpPorts = t.setPorts
	}
}

// powerUp loads what is saved if it says so.
func (t *text) powerUp() {
	if m := t.flash.saved; m != nil && m.reg["SFF"] == "1" {
		t.recall()
		t.udpPorts = t.setPorts
	}
}

func (t *text) erase([]string) answer {
	t.flash.saved = nil
	t.flash.writes++
	return answer{}
}
