package dongle

import (
	"encoding/binary"
	"time"

	"github.com/meterseal/meterseal/routeb"
)

// The datagrams of RFC 5191 that a module shows on UDP port 716 while it joins. Header fields and AVPs are as documented
// of a real meter; nonces and cryptographic values are fixed and do not verify, for the password is compared instead.
//
//	0   2   zero
//	2   2   length of the whole
//	4   2   flags: 8000 request, 4000 start, 2000 complete
//	6   2   type: 2 authentication, 3 termination
//	8   4   session
//	12  4   sequence number
//	16      AVPs: code 2, flags 2, length 2, zero 2, value padded to 4
type pana struct{ b []byte }

const (
	panaAuth = 2
	panaEnd  = 3

	avpAuth     = 1
	avpEAP      = 2
	avpIntegr   = 3
	avpKeyID    = 4
	avpNonce    = 5
	avpPRF      = 6
	avpResult   = 7
	avpLifetime = 8
)

func newPANA(flags, kind uint16, sequence uint32) *pana {
	b := binary.BigEndian.AppendUint16(make([]byte, 4, 128), flags)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint32(b, 0x0A0B0C0D)
	return &pana{binary.BigEndian.AppendUint32(b, sequence)}
}

func (p *pana) avp(code uint16, value ...byte) *pana {
	p.b = binary.BigEndian.AppendUint16(p.b, code)
	p.b = binary.BigEndian.AppendUint16(p.b, 0)
	p.b = binary.BigEndian.AppendUint16(p.b, uint16(len(value)))
	p.b = binary.BigEndian.AppendUint16(p.b, 0)
	p.b = append(p.b, value...)
	for len(p.b)%4 != 0 {
		p.b = append(p.b, 0)
	}
	return p
}

func (p *pana) bytes() []byte {
	binary.BigEndian.PutUint16(p.b[2:], uint16(len(p.b)))
	return p.b
}

// ramp returns n bytes that count up from first.
func ramp(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// panaJoin returns the four datagrams of a successful authentication.
func panaJoin(c routeb.Credentials, lifetime time.Duration) [][]byte {
	seconds := binary.BigEndian.AppendUint32(nil, uint32(lifetime/time.Second))
	request := append([]byte{1, 0x48, 0, 0x38, 0x2F, 0}, ramp(0x10, 16)...)
	request = append(append(request, "SM"...), c.ID...)
	third := append([]byte{1, 0x49, 0, 0x3B, 0x2F, 0x80}, ramp(0x10, 16)...)
	third = append(third, ramp(0x40, 37)...)
	return [][]byte{
		newPANA(0xC000, panaAuth, 0x11223300).avp(avpPRF, 0, 0, 0, 5).avp(avpIntegr, 0, 0, 0, 12).bytes(),
		newPANA(0x8000, panaAuth, 0x11223301).avp(avpNonce, ramp(0x20, 16)...).avp(avpEAP, request...).bytes(),
		newPANA(0x8000, panaAuth, 0x11223302).avp(avpEAP, third...).bytes(),
		newPANA(0xA000, panaAuth, 0x11223303).avp(avpResult, 0, 0, 0, 0).avp(avpEAP, 3, 0x49, 0, 4).
			avp(avpKeyID, 0, 0, 0, 0x10).avp(avpLifetime, seconds...).avp(avpAuth, ramp(0x30, 16)...).bytes(),
	}
}

// panaEndAnswer returns the meter's answer to the end of a session.
func panaEndAnswer() []byte {
	return newPANA(0, panaEnd, 0x44556601).avp(avpAuth, ramp(0x30, 16)...).bytes()
}
