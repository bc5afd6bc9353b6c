package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// MaxBundle is the largest bundle in bytes that is decoded.
	MaxBundle = 8 << 20
	// MediaType is the media type of a bundle over HTTP.
	MediaType = "application/vnd.meterseal.bundle"
	// BundleExt is the file name extension of a bundle.
	BundleExt = ".mseal"

	bundleMagic  = "MSBUNDLE"
	bundleHead   = 38
	partHead     = 18
	maxParts     = 1024
	flagNewest   = 1 << 0
	maxChainSize = 64 << 10
)

// ErrBundle says that bytes are no bundle. Errors of decoding wrap it.
var ErrBundle = errors.New("eventlog: not a bundle")

// Bundle is the evidence of one meter as it is collected, spooled, posted,
// exported and verified offline. Whatever it says beside log bytes and seals
// is the courier's word.
//
//	off size field
//	  0    8 magic "MSBUNDLE"
//	  8    1 format version, 1
//	  9    1 flags: b0 the last seal was the meter's newest when collected
//	 10   15 meter id
//	 25    1 zero
//	 26    8 time of collection, ms since the Unix epoch, UTC
//	 34    2 number of parts, 1 to 1024
//	 36    2 zero
//	 38      the parts, by ascending segment
//	         4 size of the certificate chain in bytes, at most 65,536
//	         the certificate chain: DER certificates, leaf first, one after the other
//
// A part:
//
//	off size field
//	  0    4 segment, from 1
//	  4    8 offset of the log bytes in the segment, a multiple of 64
//	 12    4 number of log bytes, n
//	 16    2 size of the seal in bytes, 0 = none
//	 18    n log bytes
//	 18+n    the seal
type Bundle struct {
	Meter     MeterID
	Newest    bool  // the last seal was the meter's newest when collected
	Collected int64 // ms since the Unix epoch
	Parts     []Part
	Chain     []byte // DER certificates, leaf first; may be empty
}

// Part is a run of bytes of one segment, with a seal over the segment up to
// its signed length. Log and Seal alias the input after decoding.
type Part struct {
	Segment uint32
	Offset  uint64 // bytes
	Log     []byte
	Seal    []byte // an encoded Seal, or empty
}

// AppendBinary appends the encoded bundle.
func (u *Bundle) AppendBinary(b []byte) ([]byte, error) {
	if len(u.Parts) == 0 || len(u.Parts) > maxParts {
		return b, fmt.Errorf("eventlog: a bundle has 1 to %d parts, not %d", maxParts, len(u.Parts))
	}
	if len(u.Chain) > maxChainSize {
		return b, fmt.Errorf("eventlog: certificate chain of %d bytes, at most %d fit a bundle", len(u.Chain), maxChainSize)
	}
	start := len(b)
	var flags byte
	if u.Newest {
		flags |= flagNewest
	}
	b = append(b, bundleMagic...)
	b = append(b, Version, flags)
	b = append(append(b, u.Meter[:]...), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(u.Collected))
	b = binary.BigEndian.AppendUint16(b, uint16(len(u.Parts)))
	b = append(b, 0, 0)
	last := uint32(0)
	for i := range u.Parts {
		p := &u.Parts[i]
		if err := p.check(last); err != nil {
			return b[:start], err
		}
		if len(b)-start+partHead+len(p.Log)+len(p.Seal) > MaxBundle {
			return b[:start], fmt.Errorf("eventlog: the bundle is larger than %d bytes", MaxBundle)
		}
		last = p.Segment
		b = binary.BigEndian.AppendUint32(b, p.Segment)
		b = binary.BigEndian.AppendUint64(b, p.Offset)
		b = binary.BigEndian.AppendUint32(b, uint32(len(p.Log)))
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.Seal)))
		b = append(append(b, p.Log...), p.Seal...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(u.Chain)))
	b = append(b, u.Chain...)
	if len(b)-start > MaxBundle {
		return b[:start], fmt.Errorf("eventlog: the bundle is larger than %d bytes", MaxBundle)
	}
	return b, nil
}

// check says whether the part can stand in a bundle after segment last.
func (p *Part) check(last uint32) error {
	switch {
	case p.Segment <= last:
		return fmt.Errorf("%w: segment %d after segment %d", ErrBundle, p.Segment, last)
	case p.Offset%SlotSize != 0 || p.Offset > 1<<40:
		return fmt.Errorf("%w: offset %d of segment %d", ErrBundle, p.Offset, p.Segment)
	case len(p.Seal) > 255:
		return fmt.Errorf("%w: seal of %d bytes", ErrBundle, len(p.Seal))
	}
	return nil
}

// UnmarshalBinary decodes exactly one bundle. Log, Seal and Chain alias b.
// The error wraps ErrBundle.
func (u *Bundle) UnmarshalBinary(b []byte) error {
	switch {
	case len(b) > MaxBundle:
		return fmt.Errorf("%w: %d bytes, more than %d", ErrBundle, len(b), MaxBundle)
	case len(b) < bundleHead || string(b[:8]) != bundleMagic:
		return ErrBundle
	case b[8] != Version:
		return fmt.Errorf("%w: format version %d", ErrBundle, b[8])
	case b[9]&^flagNewest != 0 || b[25] != 0 || b[36] != 0 || b[37] != 0:
		return fmt.Errorf("%w: unknown flags", ErrBundle)
	}
	v := Bundle{Meter: MeterID(b[10:25]), Newest: b[9]&flagNewest != 0, Collected: int64(binary.BigEndian.Uint64(b[26:]))}
	parts := int(binary.BigEndian.Uint16(b[34:]))
	if parts == 0 || parts > maxParts {
		return fmt.Errorf("%w: %d parts", ErrBundle, parts)
	}
	b = b[bundleHead:]
	if len(b) < parts*partHead {
		return fmt.Errorf("%w: cut short", ErrBundle)
	}
	v.Parts = make([]Part, parts)
	last := uint32(0)
	for i := range v.Parts {
		n, err := v.Parts[i].decode(b, last)
		if err != nil {
			return err
		}
		last, b = v.Parts[i].Segment, b[n:]
	}
	if len(b) < 4 {
		return fmt.Errorf("%w: cut short", ErrBundle)
	}
	n := int(binary.BigEndian.Uint32(b))
	if n > maxChainSize || n != len(b)-4 {
		return fmt.Errorf("%w: certificate chain of %d bytes where %d are left", ErrBundle, n, len(b)-4)
	}
	v.Chain = b[4 : 4+n : 4+n]
	*u = v
	return nil
}

// decode reads a part from the start of b and returns its size.
func (p *Part) decode(b []byte, last uint32) (int, error) {
	if len(b) < partHead {
		return 0, fmt.Errorf("%w: cut short", ErrBundle)
	}
	n, m := uint64(binary.BigEndian.Uint32(b[12:])), uint64(binary.BigEndian.Uint16(b[16:]))
	if n+m > uint64(len(b)-partHead) {
		return 0, fmt.Errorf("%w: cut short", ErrBundle)
	}
	end, sealEnd := partHead+n, partHead+n+m
	*p = Part{
		Segment: binary.BigEndian.Uint32(b), Offset: binary.BigEndian.Uint64(b[4:]),
		Log: b[partHead:end:end], Seal: b[end:sealEnd:sealEnd],
	}
	return int(sealEnd), p.check(last)
}
