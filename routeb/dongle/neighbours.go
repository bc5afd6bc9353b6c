package dongle

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

// neighbour is an entry of the neighbour cache.
type neighbour struct {
	addr netip.Addr
	mac  skstack.EUI64
}

// maxNeighbours is documented for the single-stack family and assumed for the other.
const maxNeighbours = 8

func (t *text) knows(addr netip.Addr) bool {
	return slices.ContainsFunc(t.known, func(n neighbour) bool { return n.addr == addr })
}

func (t *text) forget(addr netip.Addr) {
	t.known = slices.DeleteFunc(t.known, func(n neighbour) bool { return n.addr == addr })
}

// remember adds a neighbour. The oldest makes room.
func (t *text) remember(n neighbour) {
	t.forget(n.addr)
	if len(t.known) == maxNeighbours {
		t.known = slices.Delete(t.known, 0, 1)
	}
	t.known = append(t.known, n)
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
	mac, ok2 := macArg(a[1])
	if !ok1 || !ok2 {
		return fail(wrongArgument)
	}
	t.remember(neighbour{addr, mac})
	return answer{}
}

func (t *text) removeDevice(a []string) answer {
	addr, ok := addrArg(a[0])
	if !ok {
		return fail(wrongArgument)
	}
	t.forget(addr)
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
	switch {
	case a[0] == "1":
		lines = []string{"EADDR", skstack.FormatAddr(t.own())}
	case a[0] == "2":
		lines = []string{"ENEIGHBOR"}
		for _, n := range t.known {
			lines = append(lines, fmt.Sprintf("%s %s FFFF", skstack.FormatAddr(n.addr), n.mac))
		}
	case a[0] == "9" && t.dual: // the tables of the home area network are empty
		lines = []string{"ENBR"}
	case a[0] == "A" && t.dual:
		lines = []string{"ESEC"}
	case a[0] == "F" && !t.dual: // of TCP, which is not spoken
		lines = []string{"EHANDLE"}
	case a[0] == "E":
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
