package eventlog

import (
	"errors"
	"fmt"
)

// maxHanded bounds how many digests are remembered for seals that come late.
const maxHanded = 64

// Pending returns what the secure element has to sign next: the digest of the
// newest segment up to its last specific record, the length in bytes that it
// covers, and the sequence number of that record. ok is false when the newest
// seal covers it already. The cost does not depend on the length.
func (l *Log) Pending() (d Digest, length uint64, lastSeq uint32, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ready() != nil || l.tip.length <= l.sealed.SignedLength {
		return Digest{}, 0, 0, false
	}
	if n := len(l.handed); n == 0 || l.handed[n-1] != l.tip {
		if n == maxHanded {
			l.handed = append(l.handed[:0], l.handed[1:]...)
		}
		l.handed = append(l.handed, l.tip)
	}
	return l.tip.digest, l.tip.length, l.tip.seq, true
}

// StoreSeal verifies a seal, makes it durable and publishes it. It may be one
// for a length that Pending gave earlier, if it is newer than the stored seal.
// ErrBadSeal: the signature or a field does not fit the log, or Pending never
// gave that length; ErrOldSeal: the stored seal covers as much, or its counter
// is as high. The stored seal is untouched by any error.
func (l *Log) StoreSeal(s Seal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(); err != nil {
		return err
	}
	if err := l.checkSeal(&s); err != nil {
		return err
	}
	b, err := s.AppendBinary(nil)
	if err != nil {
		return err
	}
	if err := l.seals.store(b); err != nil {
		if errors.Is(err, ErrBroken) {
			l.broken = err
		}
		return err
	}
	l.sealed = s
	v := *l.view.Load()
	v.seal, v.sealBytes = s, b
	l.view.Store(&v)
	return nil
}

func (l *Log) checkSeal(s *Seal) error {
	stored := l.view.Load().seal
	switch {
	case s.Segment != l.segment:
		return fmt.Errorf("%w: segment %d, the newest is %d", ErrBadSeal, s.Segment, l.segment)
	case s.SignedLength <= l.sealed.SignedLength:
		return fmt.Errorf("%w: it covers %d bytes, the stored one %d", ErrOldSeal, s.SignedLength, l.sealed.SignedLength)
	case s.Scheme != l.terms.scheme || s.KeyPrefix != [8]byte(l.terms.key[:]):
		return fmt.Errorf("%w: another key or scheme", ErrBadSeal)
	case s.Scheme == SchemeCounter && s.KeyPrefix == stored.KeyPrefix && s.Counter <= stored.Counter:
		return fmt.Errorf("%w: counter %d after %d", ErrOldSeal, s.Counter, stored.Counter)
	}
	for _, m := range l.handed {
		if m.length != s.SignedLength {
			continue
		}
		if m.seq != s.LastSeq || m.digest != s.Digest {
			return fmt.Errorf("%w: sequence or digest at %d bytes", ErrBadSeal, m.length)
		}
		if !s.Signs(l.terms.pub, l.terms.key, l.terms.scheme, m.digest) {
			return fmt.Errorf("%w: the signature does not verify", ErrBadSeal)
		}
		return nil
	}
	return fmt.Errorf("%w: no digest was given out at %d bytes", ErrBadSeal, s.SignedLength)
}
