package eventlogtest

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/meterseal/meterseal/eventlog"
)

// Offsets returns the offset of each record of a log, and its end. It reads
// only the slot counts, so it works on a log that was edited. It panics at a
// count of 0, behind which nothing can be found.
func Offsets(log []byte) []int {
	at := []int{0}
	for n := 0; n < len(log); {
		slots := int(log[n+1])
		if slots == 0 {
			panic(fmt.Sprintf("eventlogtest: the record at %d has no slots", n))
		}
		n += slots * eventlog.SlotSize
		at = append(at, n)
	}
	return at
}

// Edit returns a copy of the log in which f has changed the i-th record's
// bytes and the checksum is right again, as a careful attacker leaves it.
func Edit(log []byte, i int, f func(record []byte)) []byte {
	log = slices.Clone(log)
	at := Offsets(log)
	r := log[at[i]:at[i+1]]
	f(r)
	FixChecksum(r)
	return log
}

// FixChecksum writes the CRC-32C of a record's or a seal's bytes to their end.
func FixChecksum(b []byte) {
	n := len(b) - 4
	binary.BigEndian.PutUint32(b[n:], crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli)))
}

// Delete returns a copy of the log without its i-th record.
func Delete(log []byte, i int) []byte {
	at := Offsets(log)
	return slices.Concat(log[:at[i]], log[at[i+1]:])
}

// Insert returns a copy of the log with a record before its i-th one.
func Insert(log []byte, i int, record []byte) []byte {
	at := Offsets(log)
	return slices.Concat(log[:at[i]], record, log[at[i]:])
}

// Swap returns a copy of the log in which the i-th and the next record have
// changed places.
func Swap(log []byte, i int) []byte {
	at := Offsets(log)
	return slices.Concat(log[:at[i]], log[at[i+1]:at[i+2]], log[at[i]:at[i+1]], log[at[i+2]:])
}

// Relabel returns a seal's bytes after f has changed its fields, with a right
// checksum: what a courier can do to a genuine seal.
func Relabel(seal []byte, f func(*eventlog.Seal)) []byte {
	s := Decode(seal)
	f(&s)
	return Encode(s)
}
