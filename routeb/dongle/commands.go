package dongle

import (
	"fmt"
	"strings"
	"time"

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
	then  func() // runs after the answer and before the next command; what it starts does not hold that up
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
		if a.then != nil {
			a.then()
		}
		t.done()
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
		return command{min: 1, max: 1, product: true, run: (*text).writeOption}, true
	case "WUART":
		return command{min: 1, max: 1, product: true, run: (*text).writeUART}, true
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
