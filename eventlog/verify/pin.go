package verify

import (
	"errors"
	"fmt"

	"github.com/meterseal/meterseal/eventlog"
)

// Pin makes a demand of a seal that someone kept: used as [Known.Head], a log
// that does not contain what the seal covers is ROLLED_BACK. It fails if the
// bytes are no seal, or none of the registered keys made it.
func Pin(reg *Registration, seal []byte) (*Head, error) {
	var s eventlog.Seal
	if err := s.UnmarshalBinary(seal); err != nil {
		return nil, fmt.Errorf("verify: pin: %w", err)
	}
	for i := range reg.Keys {
		if k := &reg.Keys[i]; s.Signs(k.Public, k.ID, k.Scheme, s.Digest) {
			return &Head{
				Header: eventlog.Header{Meter: reg.Meter, Scheme: k.Scheme, Key: k.ID, Segment: s.Segment},
				Length: s.SignedLength, Digest: s.Digest, LastSeq: s.LastSeq, Seal: s,
			}, nil
		}
	}
	return nil, errors.New("verify: pin: the seal is of none of the registered keys")
}
