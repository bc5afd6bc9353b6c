package dongle

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

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
	if name == "SFA" {
		return answer{then: t.limitControl}
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
	case "S0B":
		return strings.Repeat("00", 8-len(t.reg["S0A"])) + fmt.Sprintf("%X", t.reg["S0A"]), true
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
	case "S0B": // the same as bytes
		b, err := hex.DecodeString(value)
		if err != nil || len(b) != 8 || bytes.ContainsFunc(b, func(c rune) bool { return c < ' ' || c > '~' }) {
			return false
		}
		t.reg["S0A"] = string(b)
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
