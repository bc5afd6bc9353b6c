package verify

import (
	"encoding/binary"

	"github.com/meterseal/meterseal/eventlog"
)

// account follows what the counter of a secure element can honestly be.
//
// A seal is durable before the next signature is asked for, and a signature
// that did not come is never asked for again: BOOT or SE_RESTORED is appended
// first. So since the newest seal that the meter holds, at most one signature
// was asked for before the next BOOT or SE_RESTORED, and one after each. Before
// the first seal of all there may have been some first starts that signed.
type account struct {
	open    bool   // counter is known
	counter uint64 // at some place of the log: that of a seal, or of what the key began with
	sealed  bool   // it is that of a seal
	length  uint64 // signed length of that seal; 0 = it is one of an earlier segment

	next     uint64 // offset in the segment: no specific record lies between that place and it
	restarts uint64 // BOOT and SE_RESTORED before it, of those that the scan has read
}

// opening is the account before the first new byte.
func (p *part) opening() account {
	switch {
	case p.relation == relationExtends:
		h := p.head
		return account{open: true, counter: h.Seal.Counter, sealed: true, length: h.Length, next: h.Length}
	case p.in.Segment == 1:
		return account{open: true, counter: p.key.StartCounter}
	case !p.linked:
		return account{}
	case p.before.Header.Key == p.key.ID:
		return account{open: true, counter: p.before.Seal.Counter, sealed: true}
	case p.before.NextKey == p.key.ID:
		return account{open: true, counter: max(p.key.StartCounter, p.before.NextCounter)}
	}
	return account{open: true, counter: p.key.StartCounter}
}

// counters compares what the meter found when it started to use its secure
// element with what the log explains.
func (s *scan) counters(r *eventlog.Record, c *eventlog.Counters) {
	a := &s.account
	if s.key.Scheme != eventlog.SchemeCounter {
		return
	}
	if a.sealed && (c.SealCounter < a.counter || c.SealLength < a.length) {
		s.found.add(FindSealRemoved, s.here(r.Seq), "the newest seal that was found has counter %d and covers %d bytes; one with counter %d and %d bytes had been made",
			c.SealCounter, c.SealLength, a.counter, a.length)
		return
	}
	if c.SealCounter > a.counter && c.SealLength > 0 && c.SealLength <= s.state.Length {
		s.settle(c.SealLength)
		a.open, a.counter, a.sealed, a.length = true, c.SealCounter, true, c.SealLength
	}
	if !c.ModuleUp {
		return
	}
	if !a.open {
		s.settle(s.state.Length)
		a.open, a.counter = true, c.ModuleCounter
		return
	}
	if s.born(r, c) {
		s.settle(s.state.Length)
		a.counter = max(a.counter, c.ModuleCounter)
		s.base.counter, s.specific = a.counter, 0
		return
	}
	if most := a.counter + s.asked(); c.ModuleCounter > most {
		s.found.add(FindSealRemoved, s.here(r.Seq), "counter %d, the log explains %d", c.ModuleCounter, most)
	}
}

// born reports whether the record is the BOOT of a first start: it follows the
// header of segment 1, and there is no seal yet. First starts that were cut off
// before may have signed, and have left no log.
func (s *scan) born(r *eventlog.Record, c *eventlog.Counters) bool {
	return s.segment == 1 && r.Seq == s.state.Header.FirstSeq+1 && r.Code == eventlog.CodeBoot &&
		c.SealCounter == 0 && c.ModuleCounter <= s.account.counter+eventlog.MaxFirstStarts
}

// damaged opens a new account after LOG_DAMAGED at the start of a segment:
// what the damaged one would have explained cannot be read any more. If that
// segment is known in part, what was found of it must reach so far, and leave
// a slot for each signature since.
func (s *scan) damaged(r *eventlog.Record, d *eventlog.LogDamaged) {
	if s.key.Scheme != eventlog.SchemeCounter {
		return
	}
	if b := s.before; b != nil && b.Segment() == d.Segment && b.Header.Key == s.key.ID {
		counter, length := b.Seal.Counter, b.Length
		if d.SealCounter > counter {
			counter, length = d.SealCounter, d.SealLength
		}
		if most := counter + (max(d.Found, length)-length)/eventlog.SlotSize; d.Found < length || d.ModuleCounter > most {
			s.found.add(FindSealRemoved, s.here(r.Seq), "counter %d, the damaged segment with %d bytes, a seal with counter %d over %d bytes",
				d.ModuleCounter, d.Found, counter, length)
		}
	}
	s.settle(s.state.Length + uint64(r.Size()))
	s.account.open, s.account.sealed, s.account.length = d.ModuleUp, false, 0
	s.account.counter = max(d.SealCounter, d.ModuleCounter)
}

// settle moves the account to a place of the log, never back.
func (s *scan) settle(place uint64) {
	for s.account.next < place {
		s.pass()
	}
}

// asked is how many signatures can have been asked for between the place of
// the account and the BOOT or SE_RESTORED that is read now.
func (s *scan) asked() uint64 {
	a := &s.account
	for a.next < s.state.Length && s.at(a.next)[24]&eventlog.FlagSpecific == 0 {
		s.pass()
	}
	n := s.restarts - a.restarts
	if !restart(s.at(a.next)) { // the record that is read now is one
		n++
	}
	return n
}

// at is the log from an offset in the segment on.
func (s *scan) at(offset uint64) []byte { return s.log[offset-s.start:] }

// pass moves the account over one record.
func (s *scan) pass() {
	a := &s.account
	b := s.at(a.next)
	if restart(b) {
		a.restarts++
	}
	a.next += uint64(b[1]) * eventlog.SlotSize
}

// restart reports whether an encoded record is BOOT or SE_RESTORED.
func restart(b []byte) bool {
	code := binary.BigEndian.Uint16(b[2:])
	return eventlog.Class(b[26]) == eventlog.ClassSystem && (code == eventlog.CodeBoot || code == eventlog.CodeModuleRestored)
}

// counterGap compares the growth of the counter with the records that could
// have been sealed. More growth means that seals were made and removed.
func (p *part) counterGap() {
	a := &p.base
	if !p.grows || !a.open {
		return
	}
	if n := max(p.seal.Counter, a.counter) - a.counter; n > p.specific {
		p.found.add(FindCounterGap, p.at(p.seal.SignedLength, p.state.LastSeq),
			"%d seals since counter %d, %d records to seal", n, a.counter, p.specific)
	}
}
