package echonet

import "sync"

// profile is the node profile object 0EF001 (ECHONET Lite Part II, 6.11).
type profile struct {
	node *Node
	id   Identity

	mu     sync.Mutex // guards number
	number [2]byte    // BF
}

// Limits of the lists in D5, D6 and D7.
const (
	maxInstances = 84
	maxClasses   = 8
)

var profileMaps = PropertyMaps{
	Announce: SetOf(0x80, 0xD5),
	Set:      SetOf(0xBF),
	Get: SetOf(0x80, 0x82, 0x83, 0x88, 0x8A, EPCAnnounceMap, EPCSetMap, EPCGetMap,
		0xBF, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7),
}

func newProfile(n *Node, id Identity) *profile {
	p := &profile{node: n, id: id, number: n.cfg.NodeNumber}
	if p.number == ([2]byte{}) {
		p.number = [2]byte{0x80, 0x00}
	}
	return p
}

func (p *profile) EOJ() EOJ { return NodeProfile }

func (p *profile) Properties() PropertyMaps {
	m := profileMaps
	if p.id.Product != "" {
		m.Get.Add(0x8C)
	}
	if p.id.Serial != "" {
		m.Get.Add(0x8D)
	}
	return m
}

func (p *profile) Begin(Request) Access { return p }

func (p *profile) Set(epc byte, edt []byte) bool {
	if epc != 0xBF || len(edt) != 2 {
		return false
	}
	p.mu.Lock()
	p.number = [2]byte(edt)
	p.mu.Unlock()
	if p.node.cfg.OnNodeNumber != nil {
		p.node.cfg.OnNodeNumber([2]byte(edt))
	}
	return true
}

func (p *profile) Get(epc byte) ([]byte, bool) {
	devices := p.node.objects.Load().devices()
	switch epc {
	case 0x80:
		return []byte{0x30}, true // operating
	case 0x82:
		return []byte{1, 14, 0x01, 0}, true // version 1.14, specified format only
	case 0x83:
		return p.id.Number(), true
	case 0x88:
		return []byte{0x42}, true // no fault
	case 0x8A:
		return p.id.ManufacturerCode(), true
	case 0x8C:
		return p.id.ProductCode(), true
	case 0x8D:
		return p.id.SerialNumber(), true
	case 0xBF:
		p.mu.Lock()
		defer p.mu.Unlock()
		return append([]byte(nil), p.number[:]...), true
	case 0xD3:
		n := len(devices)
		return []byte{byte(n >> 16), byte(n >> 8), byte(n)}, true
	case 0xD4:
		n := len(classes(devices)) + 1 // with that of the node profile
		return []byte{byte(n >> 8), byte(n)}, true
	case 0xD5, 0xD6:
		return instanceList(devices[:min(len(devices), maxInstances)]), true
	case 0xD7:
		cs := classes(devices)
		cs = cs[:min(len(cs), maxClasses)]
		b := []byte{byte(len(cs))}
		for _, c := range cs {
			b = append(b, byte(c>>8), byte(c))
		}
		return b, true
	}
	return nil, false
}

// instanceList returns the data of D5 and D6 for at most 84 objects.
func instanceList(devices []Object) []byte {
	b := []byte{byte(len(devices))}
	for _, o := range devices {
		e := o.EOJ()
		b = append(b, e[:]...)
	}
	return b
}

// classes returns the classes of the objects, each once, in order.
func classes(devices []Object) []uint16 {
	seen := map[uint16]bool{}
	var out []uint16
	for _, o := range devices {
		if c := o.EOJ().Class(); !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	return out
}
