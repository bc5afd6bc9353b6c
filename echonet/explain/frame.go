package explain

import (
	"encoding/hex"
	"fmt"

	"github.com/meterseal/meterseal/echonet"
)

// Line is one field of a frame.
type Line struct {
	Offset int    `json:"offset"` // bytes from the start of the frame
	Bytes  string `json:"bytes"`  // hexadecimal
	Field  string `json:"field"`  // as in ECHONET Lite Part II, 3.2
	Text   string `json:"text"`   // what it says
}

// Frame explains a datagram field by field, as far as it can be read. The
// error says why it is no frame: what the decoder of package echonet says.
func Frame(b []byte) ([]Line, error) {
	r := &reader{all: b}
	r.frame()
	var f echonet.Frame
	return r.lines, f.UnmarshalBinary(b)
}

type reader struct {
	all   []byte
	at    int
	lines []Line
}

// take returns the next n bytes; nil if there are fewer, which then are shown
// as what is left.
func (r *reader) take(n int, field string, text func([]byte) string) []byte {
	if r.at+n > len(r.all) {
		if r.at < len(r.all) {
			r.lines = append(r.lines, Line{r.at, hex.EncodeToString(r.all[r.at:]), field, fmt.Sprintf("cut short: %d bytes of %d", len(r.all)-r.at, n)})
		}
		r.at = len(r.all)
		return nil
	}
	b := r.all[r.at : r.at+n]
	r.lines = append(r.lines, Line{r.at, hex.EncodeToString(b), field, text(b)})
	r.at += n
	return b
}

func (r *reader) frame() {
	if b := r.take(1, "EHD1", is(0x10, "ECHONET Lite", "not ECHONET Lite")); b == nil || b[0] != 0x10 {
		return
	}
	if b := r.take(1, "EHD2", is(0x81, "format 1", "not format 1")); b == nil || b[0] != 0x81 {
		return
	}
	r.take(2, "TID", func(b []byte) string { return fmt.Sprintf("transaction %d", int(b[0])<<8|int(b[1])) })
	object := func(b []byte) string { return Object(echonet.EOJ(b)) }
	seoj := r.take(3, "SEOJ", object)
	deoj := r.take(3, "DEOJ", object)
	service := r.take(1, "ESV", func(b []byte) string { return fmt.Sprintf("%v: %s", echonet.ESV(b[0]), Service(echonet.ESV(b[0]))) })
	if service == nil {
		return
	}
	// Properties are those of the object that is asked, or that answers.
	owner := echonet.EOJ(seoj)
	esv := echonet.ESV(service[0])
	if request(esv) {
		owner = echonet.EOJ(deoj)
	}
	r.list("OPC", owner)
	if esv == echonet.SetGet || esv == echonet.SetGetRes || esv == echonet.SetGetSNA {
		r.list("OPCGet", owner)
	}
	if r.at < len(r.all) {
		r.take(len(r.all)-r.at, "-", func([]byte) string { return "trailing bytes" })
	}
}

func request(s echonet.ESV) bool {
	switch s {
	case echonet.SetI, echonet.SetC, echonet.Get, echonet.INFREQ, echonet.SetGet, echonet.INFCRes:
		return true
	}
	return false
}

func (r *reader) list(field string, owner echonet.EOJ) {
	n := r.take(1, field, func(b []byte) string { return fmt.Sprintf("%d properties", b[0]) })
	if n == nil {
		return
	}
	for range n[0] {
		epc := r.take(1, "EPC", func(b []byte) string { return Name(owner, b[0]) })
		if epc == nil {
			return
		}
		pdc := r.take(1, "PDC", func(b []byte) string { return fmt.Sprintf("%d bytes", b[0]) })
		if pdc == nil {
			return
		}
		if pdc[0] > 0 && r.take(int(pdc[0]), "EDT", func(b []byte) string { return Describe(owner, epc[0], b).String() }) == nil {
			return
		}
	}
}

func is(want byte, yes, no string) func([]byte) string {
	return func(b []byte) string {
		if b[0] == want {
			return yes
		}
		return no
	}
}
