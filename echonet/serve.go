package echonet

import "net"

// serve lets every object that the request names answer it. The answer keeps
// TID and order, and swaps the objects.
func (n *Node) serve(p *port, r *reader, from net.Addr) error {
	t := n.objects.Load()
	dst := r.f.DEOJ
	if o, ok := t.byEOJ[dst]; ok {
		n.serveObject(p, r, from, o)
		return nil
	}
	found := false
	if dst.Instance() == 0 {
		for _, o := range t.objects {
			if dst.Matches(o.EOJ()) {
				found = true
				n.serveObject(p, r, from, o)
			}
		}
	}
	if !found {
		return ErrNoObject
	}
	return nil
}

func (n *Node) serveObject(p *port, r *reader, from net.Addr, o Object) {
	n.count.served.Add(1)
	f := &r.f
	s := session{
		maps:   o.Properties(),
		access: o.Begin(Request{From: from, ESV: f.ESV, SEOJ: f.SEOJ}),
		max:    max(n.cfg.MaxPayload, r.size), // what came can go back
	}
	s.maps.Get = s.maps.Get.Union(mapProperties)
	done, refused := f.ESV.answers()
	s.out = appendHeader(r.out[:0], f.TID, o.EOJ(), f.SEOJ, done)
	switch f.ESV {
	case SetI, SetC:
		s.set(f.Properties, 0)
	case Get:
		s.get(f.Properties, s.maps.Get)
	case INFREQ:
		s.get(f.Properties, s.maps.Get.Union(s.maps.Announce))
	case SetGet:
		s.set(f.Properties, 1+2*len(f.GetProperties))
		s.get(f.GetProperties, s.maps.Get)
	}
	r.out = s.out
	if s.sna {
		s.out[10] = byte(refused)
	}
	if s.sna || done != 0 {
		n.count.answered.Add(1)
		if err := p.send(s.out, n.cfg.Reply.replyTo(from), nil); err != nil {
			n.writeError(p, from, err)
		}
	}
	if len(s.changed) > 0 {
		n.notifyChanged(o, s.changed)
	}
}

func (n *Node) writeError(p *port, to net.Addr, err error) {
	n.count.writeErrors.Add(1)
	n.cfg.Logger.Warn("write", "link", p.local, "to", to, "err", err)
}

// appendHeader appends the first eleven bytes of a frame.
func appendHeader(b []byte, tid uint16, seoj, deoj EOJ, esv ESV) []byte {
	return append(b, ehd1, ehdFormat1, byte(tid>>8), byte(tid),
		seoj[0], seoj[1], seoj[2], deoj[0], deoj[1], deoj[2], byte(esv))
}

// session is the answer to one message by one object, while it is written.
type session struct {
	maps    PropertyMaps
	access  Access
	max     int // of the answer, in bytes
	out     []byte
	sna     bool   // something was refused
	changed []byte // announced properties whose value a Set changed
}

// set writes properties in order and appends their list: accepted ones without
// data, refused ones as they came (ECHONET Lite Part II, 4.2.3.2). reserve is
// how many bytes the rest of the message needs at least.
func (s *session) set(ps []Property, reserve int) {
	s.out = append(s.out, byte(len(ps)))
	for i, p := range ps {
		if s.setOne(p) {
			s.out = append(s.out, p.EPC, 0)
			continue
		}
		s.sna = true
		s.put(p, reserve+2*(len(ps)-i-1))
	}
}

func (s *session) setOne(p Property) bool {
	if len(p.EDT) == 0 || !s.maps.Set.Has(p.EPC) {
		return false
	}
	if !s.maps.Announce.Has(p.EPC) || !s.maps.Get.Has(p.EPC) {
		return s.access.Set(p.EPC, p.EDT)
	}
	old, _ := s.access.Get(p.EPC)
	before := string(old)
	if !s.access.Set(p.EPC, p.EDT) {
		return false
	}
	if now, ok := s.access.Get(p.EPC); ok && string(now) != before {
		s.changed = append(s.changed, p.EPC)
	}
	return true
}

// get reads properties in order and appends their list: unreadable ones, and
// those that do not fit the answer, without data.
func (s *session) get(ps []Property, readable PropertySet) {
	s.out = append(s.out, byte(len(ps)))
	for i, p := range ps {
		edt, ok := s.read(p.EPC, readable)
		if !ok || !s.put(Property{p.EPC, edt}, 2*(len(ps)-i-1)) {
			s.sna = true
			if !ok {
				s.out = append(s.out, p.EPC, 0)
			}
		}
	}
}

func (s *session) read(epc byte, readable PropertySet) (edt []byte, ok bool) {
	if !readable.Has(epc) {
		return nil, false
	}
	if mapProperties.Has(epc) {
		return s.maps.of(epc).AppendMap(nil), true
	}
	edt, ok = s.access.Get(epc)
	return edt, ok && len(edt) <= 255
}

// put appends a property, without its data if that and the reserve do not fit;
// then it returns false.
func (s *session) put(p Property, reserve int) bool {
	if len(p.EDT) > 255 || len(s.out)+2+len(p.EDT)+reserve > s.max {
		s.out = append(s.out, p.EPC, 0)
		return false
	}
	s.out = append(s.out, p.EPC, byte(len(p.EDT)))
	s.out = append(s.out, p.EDT...)
	return true
}

// of returns the map that a map property shows.
func (m PropertyMaps) of(epc byte) PropertySet {
	switch epc {
	case EPCAnnounceMap:
		return m.Announce
	case EPCSetMap:
		return m.Set
	}
	return m.Get
}

// inf handles a notification, which may also answer an INFREQ of ours.
func (n *Node) inf(from net.Addr, f *Frame) error {
	if !n.objects.Load().has(f.DEOJ) {
		return ErrNoObject
	}
	n.count.notifications.Add(1)
	n.answer(from, f) // most are answers to nothing
	n.enqueue(from, f)
	return nil
}

// infc handles a notification that is to be answered. One that could not be
// delivered is not, so that it comes again.
func (n *Node) infc(p *port, r *reader, from net.Addr) error {
	f := &r.f
	if p.heard {
		return ErrMulticast
	}
	t := n.objects.Load()
	if !t.has(f.DEOJ) {
		return ErrNoObject
	}
	n.count.notifications.Add(1)
	if !n.enqueue(from, f) {
		return nil
	}
	for _, o := range t.objects {
		if !f.DEOJ.Matches(o.EOJ()) {
			continue
		}
		out := appendHeader(r.out[:0], f.TID, o.EOJ(), f.SEOJ, INFCRes)
		out = append(out, byte(len(f.Properties)))
		for _, prop := range f.Properties {
			out = append(out, prop.EPC, 0)
		}
		r.out = out
		n.count.answered.Add(1)
		if err := p.send(out, n.cfg.Reply.replyTo(from), nil); err != nil {
			n.writeError(p, from, err)
		}
	}
	return nil
}

// enqueue hands a notification to OnNotify. It returns false if that is too slow.
func (n *Node) enqueue(from net.Addr, f *Frame) bool {
	if n.cfg.OnNotify == nil {
		return true
	}
	select {
	case n.notify <- notification{from, f.Clone()}:
		return true
	default:
		n.count.notifyLost.Add(1)
		return false
	}
}
