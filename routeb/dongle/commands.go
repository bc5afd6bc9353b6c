package dongle

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

// command is what the module does at a command.
type command struct {
	min, max int  // number of arguments
	side     bool // dual-stack modules want one more
	product  bool // of the product, not the stack: ends with CR and answers so
	run      func(t *text, a []string) answer
}

// answer is lines, then OK or FAIL.
type answer struct {
	lines []string
	fail  string // such as "ER06"; "" = OK
	ok    string // follows OK on the same line
	noOK  bool   // the lines are all
	delay time.Duration
	then  func() // runs after the answer; it does not hold the next command up
}

func fail(code string) answer { return answer{fail: code} }

// The codes of refusals.
const (
	unknownCommand = "ER04"
	wrongCount     = "ER05"
	wrongArgument  = "ER06"
	cannot         = "ER10"
)

// command runs one line.
func (t *text) command(line string) {
	f := strings.Fields(line)
	t.cfg.Logger.Debug("dongle: read", "line", masked(f))
	cmd, known := lookup(f[0])
	known = known && (!cmd.product || t.product)
	end, echoEnd := "\r\n", "\r\n"
	if cmd.product {
		echoEnd = "\r" // as the command itself
	}
	if cmd.product && known {
		end = "\r"
	}
	echo := ""
	if t.echo() {
		echo = line + echoEnd // as it is now: SKSREG SFE 0 is still echoed
	}
	extra := 0
	if cmd.side && t.dual {
		extra = 1
	}
	var a answer
	switch n := len(f) - 1; {
	case !known:
		a = fail(unknownCommand)
	case n < cmd.min+extra || n > cmd.max+extra:
		a = fail(wrongCount)
	default:
		a = cmd.run(t, f[1:])
	}
	if a.delay > 0 {
		t.write(echo)
		echo = ""
	}
	t.after(commandDelay+a.delay, func() {
		t.write(echo)
		t.answer(a, end)
		t.done()
		if a.then != nil {
			a.then()
		}
	})
}

// masked is a command without credentials, which may also stand in one that is misspelt.
func masked(f []string) string {
	if len(f) > 1 && !strings.HasPrefix(f[0], "SKSETR") && !strings.HasPrefix(f[0], "SKSETP") && strings.HasPrefix(f[0], "SK") {
		return strings.Join(f, " ")
	}
	return f[0]
}

func (t *text) answer(a answer, end string) {
	for _, l := range a.lines {
		t.line(l)
	}
	switch {
	case a.noOK:
	case a.fail != "":
		t.line("FAIL " + a.fail)
	case end == "\r":
		t.write(strings.TrimSpace("OK "+a.ok) + end)
	default:
		t.line("OK")
	}
}

func lookup(name string) (command, bool) {
	switch name {
	case "SKVER":
		return command{run: (*text).version}, true
	case "SKAPPVER":
		return command{run: (*text).appVersion}, true
	case "SKINFO":
		return command{run: (*text).info}, true
	case "SKRESET":
		return command{run: (*text).resetCommand}, true
	case "SKSREG":
		return command{min: 1, max: 2, run: (*text).register}, true
	case "SKSETPWD":
		return command{min: 2, max: 2, run: (*text).setPassword}, true
	case "SKSETRBID":
		return command{min: 1, max: 1, run: (*text).setID}, true
	case "SKSETPSK":
		return command{min: 2, max: 2, run: (*text).setKey}, true
	case "SKSCAN":
		return command{min: 3, max: 3, side: true, run: (*text).scanCommand}, true
	case "SKLL64":
		return command{min: 1, max: 1, run: (*text).linkLocal}, true
	case "SKADDNBR":
		return command{min: 2, max: 2, run: (*text).addNeighbour}, true
	case "SKRMDEV":
		return command{min: 1, max: 1, run: (*text).removeDevice}, true
	case "SKJOIN":
		return command{min: 1, max: 1, run: (*text).joinCommand}, true
	case "SKREJOIN":
		return command{run: (*text).rejoin}, true
	case "SKTERM":
		return command{run: (*text).terminate}, true
	case "SKSENDTO": // a whole one never gets here
		return command{min: 6, max: 6, side: true, run: func(*text, []string) answer { return fail(wrongArgument) }}, true
	case "SKPING":
		return command{min: 1, max: 1, side: true, run: (*text).ping}, true
	case "SKTABLE":
		return command{min: 1, max: 1, run: (*text).table}, true
	case "SKUDPPORT":
		return command{min: 2, max: 2, run: (*text).udpPort}, true
	case "SKSAVE":
		return command{run: (*text).save}, true
	case "SKLOAD":
		return command{run: (*text).load}, true
	case "SKERASE":
		return command{run: (*text).erase}, true
	case "SKDSLEEP":
		return command{run: func(t *text, _ []string) answer { return answer{then: func() { t.awake = false }} }}, true
	case "ROPT":
		return command{product: true, run: func(t *text, _ []string) answer { return answer{ok: fmt.Sprintf("%02X", t.flash.wopt)} }}, true
	case "RUART":
		return command{product: true, run: func(t *text, _ []string) answer { return answer{ok: fmt.Sprintf("%02X", t.flash.wuart)} }}, true
	case "WOPT":
		return command{min: 1, max: 1, product: true, run: func(t *text, a []string) answer { return t.store(&t.flash.wopt, a[0], 1) }}, true
	case "WUART":
		return command{min: 1, max: 1, product: true, run: func(t *text, a []string) answer { return t.store(&t.flash.wuart, a[0], 0xFF) }}, true
	}
	return command{}, false
}

func (t *text) version([]string) answer {
	if t.faults.hits(VersionErr) {
		return fail(cannot)
	}
	return answer{lines: []string{"EVER " + t.profile.version}}
}

func (t *text) appVersion([]string) answer { return answer{lines: []string{"EAPPVER " + t.firmware}} }

func (t *text) info([]string) answer {
	last := "FFFE"
	if t.dual {
		last = t.reg["SF0"]
	}
	s := fmt.Sprintf("EINFO %s %s %s %s %s", skstack.FormatAddr(t.own()), t.cfg.MAC, t.reg["S02"], t.reg["S03"], last)
	if t.trailingSpace {
		s += " "
	}
	return answer{lines: []string{s}}
}

func (t *text) resetCommand([]string) answer {
	t.reset()
	return answer{delay: resetDelay}
}

// store writes a byte of flash memory.
func (t *text) store(b *byte, arg string, limit uint64) answer {
	v, ok := hexUpTo(arg, 2, 0, limit)
	if !ok {
		return fail(wrongArgument)
	}
	*b = byte(v)
	t.flash.writes++
	return answer{}
}

func (t *text) setPassword(a []string) answer {
	n, ok := hexUpTo(a[0], 2, 1, 32)
	if !ok || len(a[1]) > int(n) {
		return fail(wrongArgument)
	}
	t.cred.Password = a[1] + strings.Repeat("?", int(n)-len(a[1])) // the rest is undefined
	return answer{}
}

func (t *text) setID(a []string) answer {
	if len(a[0]) > 32 {
		return fail(wrongArgument)
	}
	t.cred.ID = a[0] + strings.Repeat("?", 32-len(a[0]))
	t.reg["S0A"] = t.cred.PairID()
	return answer{}
}

func (t *text) setKey(a []string) answer {
	if a[0] != "10" || len(a[1]) != 32 {
		return fail(wrongArgument)
	}
	t.cred.Password = a[1] // no meter knows it: keys are derived from passwords
	return answer{}
}

func (t *text) linkLocal(a []string) answer {
	mac, ok := macArg(a[0])
	if !ok {
		return fail(wrongArgument)
	}
	return answer{lines: []string{skstack.FormatAddr(mac.LinkLocal())}, noOK: true}
}

func (t *text) addNeighbour(a []string) answer {
	addr, ok1 := addrArg(a[0])
	_, ok2 := macArg(a[1])
	if !ok1 || !ok2 {
		return fail(wrongArgument)
	}
	t.known[addr] = true
	return answer{}
}

func (t *text) removeDevice(a []string) answer {
	addr, ok := addrArg(a[0])
	if !ok {
		return fail(wrongArgument)
	}
	delete(t.known, addr)
	return answer{}
}

func (t *text) ping(a []string) answer {
	if t.dual && !oneOf(a[0], "0", "1") {
		return fail(wrongArgument)
	}
	addr, ok := addrArg(a[len(a)-1])
	if !ok {
		return fail(wrongArgument)
	}
	if t.meter(addr) == nil {
		return answer{}
	}
	return answer{lines: []string{"EPONG " + skstack.FormatAddr(addr)}}
}

func (t *text) table(a []string) answer {
	var lines []string
	switch a[0] {
	case "1":
		lines = []string{"EADDR", skstack.FormatAddr(t.own())}
	case "2":
		lines = []string{"ENEIGHBOR"}
		for _, m := range t.cfg.Meters {
			if addr := m.MAC.LinkLocal(); t.known[addr] {
				lines = append(lines, fmt.Sprintf("%s %s FFFF", skstack.FormatAddr(addr), m.MAC))
			}
		}
	case "E":
		lines = []string{"EPORT"}
		for _, p := range t.udpPorts {
			lines = append(lines, fmt.Sprint(p))
		}
		if t.extraLines { // the TCP ports
			lines = append(lines, "", "3610", "0", "0", "0")
		}
	default:
		return fail(wrongArgument)
	}
	return answer{lines: lines}
}

func (t *text) udpPort(a []string) answer {
	handle, ok1 := hexUpTo(a[0], 1, 1, 6)
	port, ok2 := hexUpTo(a[1], 4, 0, 0xFFFF)
	if !ok1 || !ok2 {
		return fail(wrongArgument)
	}
	t.udpPorts[handle-1] = uint16(port)
	return answer{}
}

func (t *text) save([]string) answer {
	t.flash.saved = maps.Clone(t.reg)
	t.flash.writes++
	return answer{}
}

func (t *text) load([]string) answer {
	if t.flash.saved == nil {
		return fail(cannot)
	}
	t.reg = maps.Clone(t.flash.saved)
	return answer{}
}

func (t *text) erase([]string) answer {
	t.flash.saved = nil
	t.flash.writes++
	return answer{}
}

func (t *text) scanCommand(a []string) answer {
	mask, ok1 := hexArg(a[1], 8, 0, 0xFFFFFFFF)
	duration, ok2 := hexArg(a[2], 1, 0, 0xE)
	if !ok1 || !ok2 || !oneOf(a[0], "0", "2", "3") || t.dual && !oneOf(a[3], "0", "1") {
		return fail(wrongArgument)
	}
	var list []byte
	for ch := byte(firstChannel); ch <= lastChannel; ch++ {
		if mask>>(ch-firstChannel)&1 == 1 {
			list = append(list, ch)
		}
	}
	dwell := 9600 * time.Microsecond * (1<<duration + 1)
	return answer{then: func() { t.startScan(a[0], list, dwell) }}
}

func (t *text) startScan(mode string, list []byte, dwell time.Duration) {
	if mode == "0" {
		t.after(time.Duration(len(list))*dwell, func() { t.energy(list) })
		return
	}
	pairID := ""
	if mode == "2" {
		if pairID = t.reg["S0A"]; pairID == "" {
			pairID = "none" // without an id no meter answers
		}
	}
	late := t.faults.hits(LateBeacon)
	var after []*Meter
	foreign := t.faults.hits(Foreign)
	t.scan(list, dwell, pairID, func(m *Meter) {
		if late {
			after = append(after, m)
			return
		}
		t.beacon(m, mode == "2")
	}, func(ch byte) {
		if foreign && ch == list[0] {
			t.beacon(&Meter{
				MAC: routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 0xB2}, Channel: ch, PAN: 0x1234, LQI: 0xFF,
				Credentials: routeb.Credentials{ID: strings.Repeat("F", 32)},
			}, mode == "2")
		}
	}, func() {
		t.event(skstack.EventScanDone, t.own(), -1)
		for _, m := range after {
			t.beacon(m, mode == "2")
		}
	})
}

func (t *text) beacon(m *Meter, pairID bool) {
	t.event(skstack.EventBeacon, t.own(), -1)
	lines := []string{
		"EPANDESC",
		fmt.Sprintf("  Channel:%02X", m.Channel),
		"  Channel Page:09",
		fmt.Sprintf("  Pan ID:%04X", m.PAN),
		fmt.Sprintf("  Addr:%s", m.MAC),
		fmt.Sprintf("  LQI:%02X", m.LQI),
	}
	if t.dual {
		lines = append(lines, "  Side:0")
	}
	if pairID {
		lines = append(lines, "  PairID:"+m.Credentials.PairID())
	}
	for _, l := range lines {
		t.line(l)
	}
}

// energy reports an energy-detect scan. The values are those of a quiet street.
func (t *text) energy(list []byte) {
	t.event(0x1F, t.own(), -1)
	t.line("EEDSCAN")
	var pairs []string
	if t.dual {
		pairs = append(pairs, "0")
	}
	for i, ch := range list {
		pairs = append(pairs, fmt.Sprintf("%02X %02X", ch, 2+(1+7*i)%23))
	}
	t.line(strings.Join(pairs, " "))
	if t.extraLines {
		t.line("")
	}
}

func (t *text) joinCommand(a []string) answer {
	addr, ok := addrArg(a[0])
	if !ok {
		return fail(wrongArgument)
	}
	if t.cred.ID == "" || t.cred.Password == "" {
		return fail(cannot)
	}
	return answer{then: func() { t.startJoin(addr) }}
}

func (t *text) rejoin([]string) answer {
	if t.session == nil || t.session.expired {
		return fail(cannot)
	}
	addr := t.session.meter.MAC.LinkLocal()
	return answer{then: func() { t.startJoin(addr) }}
}

func (t *text) register(a []string) answer {
	name := a[0]
	if len(name) == 2 && name[0] == 'S' { // S2 is short for S02
		name = "S0" + name[1:]
	}
	if len(a) == 1 {
		v, ok := t.registerValue(name)
		if !ok {
			return fail(wrongArgument)
		}
		return answer{lines: []string{"ESREG " + v}}
	}
	if !t.setRegister(name, a[1]) {
		return fail(wrongArgument)
	}
	return answer{}
}

func (t *text) registerValue(name string) (string, bool) {
	switch name {
	case "S01":
		return t.cfg.MAC.String(), true
	case "SFB":
		if t.air.over {
			return "1", true
		}
		return "0", true
	case "SFD":
		return fmt.Sprintf("%016X", t.air.total.Milliseconds()), true
	}
	v, ok := t.reg[name]
	return v, ok
}

func (t *text) setRegister(name, value string) bool {
	switch name {
	case "S01":
		mac, ok := macArg(value)
		if ok {
			t.cfg.MAC = mac
		}
		return ok
	case "S02":
		n, ok := hexUpTo(value, 2, firstChannel, lastChannel)
		if ok {
			t.reg[name] = fmt.Sprintf("%02X", n)
		}
		return ok
	case "S03":
		n, ok := hexUpTo(value, 4, 0, 0xFFFF)
		if ok {
			t.reg[name] = fmt.Sprintf("%04X", n)
		}
		return ok
	case "S0A":
		if len(value) != 8 {
			return false
		}
		t.reg[name] = value
		return true
	case "S07":
		return false // read only
	case "S16":
		n, ok := hexUpTo(value, 8, 60, 0xFFFFFFFF)
		if ok {
			t.reg[name] = fmt.Sprintf("%08X", n)
		}
		return ok
	}
	if _, known := t.reg[name]; !known {
		return false
	}
	flags := []string{"S15", "S17", "SA0", "SA1", "SA2", "SF0", "SFA", "SFE", "SFF"}
	if slices.Contains(flags, name) && !oneOf(value, "0", "1") {
		return false
	}
	if _, ok := hexUpTo(value, 16, 0, ^uint64(0)); !ok {
		return false
	}
	t.reg[name] = value
	return true
}
