package dongle

import (
	"fmt"

	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

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
	t.setPorts[handle-1] = uint16(port)
	if t.dual { // a single-stack module: when it is saved and loaded at power-up
		t.udpPorts = t.setPorts
	}
	return answer{}
}
