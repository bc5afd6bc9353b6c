package eventlog

// KeyCounter is the counter of a secure element: how often a key of the scheme
// counter has signed.
type KeyCounter struct {
	Key     KeyID
	Counter uint64
	Uses    []KeyUse // the newest ones, if the secure element remembers them
}

// KeyUse is one signature of a key of the scheme counter, as the secure element
// remembers it.
type KeyUse struct {
	Counter uint64
	Digest  Digest // zeros = not known
}

// asked returns the digests that were asked for.
func (c *KeyCounter) asked() map[Digest]bool {
	asked := map[Digest]bool{}
	if c != nil {
		for _, u := range c.Uses {
			asked[u.Digest] = false
		}
	}
	return asked
}

// attempts is how many signatures an honest meter may have asked for, and not
// kept, because of some records in a row. A seal is durable before the next
// signature is asked for, and after one that did not come BOOT or SE_RESTORED
// goes first. So it is one for the first specific record, and one more for each
// BOOT and SE_RESTORED.
type attempts uint64

func (a *attempts) note(r *Record) {
	if r.Specific() && (*a == 0 || restarts(r)) {
		*a++
	}
}

func restarts(r *Record) bool {
	return r.Class == ClassSystem && (r.Code == CodeBoot || r.Code == CodeModuleRestored)
}

// account is what the log knows of the counter of a key: where it stood, and
// how many signatures may have been made since.
type account struct {
	counter uint64
	since   attempts
}

// overdrawn reports whether the key has signed more often than the log can
// explain: seals were made and then removed.
func (a *account) overdrawn(counter uint64) bool {
	return counter > a.counter && counter-a.counter > uint64(a.since)
}

// account returns what is known of the counter of the key that seals the
// segment; ok is false if nothing is.
func (p *proof) account() (a account, ok bool) {
	switch {
	case p.terms.scheme != SchemeCounter:
		return a, false
	case p.best != nil:
		return account{p.best.Counter, p.scan.since[p.best.SignedLength]}, true
	case p.before == nil: // it begins with LOG_DAMAGED
		return p.scan.reported, p.scan.reports
	}
	a, ok = p.before.next(p.terms)
	a.since = p.scan.since[0]
	return a, ok
}

// next returns what a closed segment knows of the counter of the key in t, which
// seals the next segment.
func (p *proof) next(t terms) (a account, ok bool) {
	switch change := p.scan.keyChange; {
	case t.scheme != SchemeCounter:
		return a, false
	case t.key == p.terms.key && t.scheme == p.terms.scheme:
		return account{counter: p.best.Counter}, true
	case change == nil:
		return a, false
	default:
		return account{counter: change.Counter}, true
	}
}

// report takes note of what a record says of the secure element: from the first
// answer on the log knows its counter.
func (s *scan) report(r *Record) {
	if s.reports {
		s.reported.since.note(r)
		return
	}
	var c Counters
	switch p, _ := DecodePayload(r); p := p.(type) {
	case *LogDamaged:
		c = p.Counters
	case *Boot:
		c = p.Counters
	case *ModuleRestored:
		c = p.Counters
	}
	if !c.ModuleUp {
		return
	}
	s.reports, s.reported = true, account{counter: c.ModuleCounter}
	if restarts(r) {
		s.reported.since.note(r)
	}
}
