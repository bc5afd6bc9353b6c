// Package counter keeps a number that only grows, over kill -9 and power cuts,
// and with it the digest that each value was used for.
//
// The file is a ring of slots, 2 to 128, each at the start of a 4,096-byte
// block of its own, so that no write can touch two of them. Value n lies in slot
// n mod slots. A slot, big-endian, the rest of its block being zero:
//
//	off size field
//	  0    6 "MSLCTR"
//	  6    1 format version, 1
//	  7    1 number of slots
//	  8    8 value
//	 16   32 digest that it was used for; zeros for none
//	 48   32 HMAC-SHA256 of bytes 0 to 47
//
// The HMAC key comes from the signing key. Who can write the file can put an
// older copy of it back, which nothing local can detect, but cannot make up a
// value or use the file of another key.
package counter

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

const (
	magic     = "MSLCTR\x01"
	blockSize = 4096
	slotSize  = 80
	macOffset = 48

	// MinSlots and MaxSlots bound the ring.
	MinSlots = 2
	MaxSlots = 128
)

// File is what the ring lies in. Sync returns when what was written is
// durable.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Counter is the number. It is not safe for concurrent use.
type Counter struct {
	file  File
	key   []byte
	slots int
	last  uint64
}

// Entry is a value that was used, with its digest.
type Entry struct {
	Value  uint64
	Digest [32]byte
}

// Size returns the size in bytes of a file with so many slots.
func Size(slots int) int64 { return int64(slots) * blockSize }

// Create writes a new ring whose last value is 0 into an empty file and makes
// it durable. Every block is written, so that no later one needs space.
func Create(f File, key []byte, slots int) error {
	if slots < MinSlots || slots > MaxSlots {
		return fmt.Errorf("counter: %d slots, want %d to %d", slots, MinSlots, MaxSlots)
	}
	c := &Counter{file: f, key: key, slots: slots}
	ring := make([]byte, Size(slots))
	copy(ring, c.encode(Entry{}))
	if _, err := f.WriteAt(ring, 0); err != nil {
		return fmt.Errorf("counter: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("counter: %w", err)
	}
	return nil
}

// Open reads a ring of the given size in bytes. It writes only if a write was
// torn: the value after the largest good one may then have been used, so it is
// given up. No good slot at all is an error.
func Open(f File, size int64, key []byte) (*Counter, error) {
	slots := int(size / blockSize)
	if size%blockSize != 0 || slots < MinSlots || slots > MaxSlots {
		return nil, fmt.Errorf("counter: a file of %d bytes is no counter file", size)
	}
	c := &Counter{file: f, key: key, slots: slots}
	found := false
	for i := range slots {
		e, state, err := c.read(i)
		if err != nil {
			return nil, err
		}
		if state == good && (!found || e.Value > c.last) {
			c.last, found = e.Value, true
		}
	}
	if !found {
		return nil, errors.New("counter: no slot of the file is good")
	}
	if c.last == math.MaxUint64 {
		return c, nil
	}
	_, state, err := c.read(c.slot(c.last + 1))
	if err != nil {
		return nil, err
	}
	fresh := c.last+1 < uint64(slots) // that slot was never written
	if state == torn || state == blank && !fresh {
		if _, err := c.Next([32]byte{}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Last returns the last value used, 0 for none.
func (c *Counter) Last() uint64 { return c.last }

// Next uses up the next value for digest and returns it when it is durable.
// After an error the value counts as unused: nothing may have been signed
// under it.
func (c *Counter) Next(digest [32]byte) (uint64, error) {
	if c.last == math.MaxUint64 {
		return 0, errors.New("counter: used up")
	}
	next := c.last + 1
	if _, err := c.file.WriteAt(c.encode(Entry{next, digest}), int64(c.slot(next))*blockSize); err != nil {
		return 0, fmt.Errorf("counter: %w", err)
	}
	if err := c.file.Sync(); err != nil {
		return 0, fmt.Errorf("counter: %w", err)
	}
	c.last = next
	return next, nil
}

// History returns the values that the ring still remembers, oldest first,
// ending with the last one; values that were given up have a zero digest.
func (c *Counter) History() ([]Entry, error) {
	n := min(c.last, uint64(c.slots))
	entries := make([]Entry, 0, n)
	for v := c.last - n + 1; v <= c.last && v != 0; v++ {
		e, state, err := c.read(c.slot(v))
		if err != nil {
			return nil, err
		}
		if state == good && e.Value == v {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

type state int

const (
	torn  state = iota // partly written, or altered
	blank              // never written
	good
)

func (c *Counter) slot(value uint64) int { return int(value % uint64(c.slots)) }

func (c *Counter) encode(e Entry) []byte {
	b := make([]byte, 0, slotSize)
	b = append(b, magic...)
	b = append(b, byte(c.slots))
	b = binary.BigEndian.AppendUint64(b, e.Value)
	b = append(b, e.Digest[:]...)
	return append(b, c.mac(b)...)
}

func (c *Counter) mac(b []byte) []byte {
	h := hmac.New(sha256.New, c.key)
	h.Write(b)
	return h.Sum(nil)
}

func (c *Counter) read(slot int) (Entry, state, error) {
	var b [slotSize]byte
	if _, err := c.file.ReadAt(b[:], int64(slot)*blockSize); err != nil {
		return Entry{}, torn, fmt.Errorf("counter: %w", err)
	}
	if b == [slotSize]byte{} {
		return Entry{}, blank, nil
	}
	e := Entry{binary.BigEndian.Uint64(b[8:]), [32]byte(b[16:48])}
	if string(b[:7]) != magic || int(b[7]) != c.slots || c.slot(e.Value) != slot ||
		!hmac.Equal(b[macOffset:], c.mac(b[:macOffset])) {
		return Entry{}, torn, nil
	}
	return e, good, nil
}
