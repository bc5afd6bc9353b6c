package echonet

import (
	"bytes"
	"sync"
)

// Entry is one property of a Device.
type Entry struct {
	// EPC is the property's code, 0x80 to 0xFF.
	EPC byte
	// Value is the value, or the first one of a property that changes.
	Value []byte
	// Read, if not nil, is asked for the value instead. It returns at once, and
	// nil if there is none. The result must not change afterwards.
	Read func() []byte
	// Write, if not nil, makes the property settable. It judges the value and
	// may act on it; if it returns true and Read is nil, the Device keeps the
	// value. It must copy what it keeps itself.
	Write func(edt []byte) bool
	// Announce puts the property in the announcement map: changes of it are
	// notified.
	Announce bool
}

// Device is an Object made of a table: enough for most devices.
type Device struct {
	eoj     EOJ
	maps    PropertyMaps
	entries [128]*Entry // by EPC-0x80, not changed after NewDevice

	mu     sync.RWMutex // guards values
	values [128][]byte  // each slice is replaced, never written to
}

// NewDevice returns a device with the properties given; of two entries with one
// code the later one counts. SuperClass gives those that every device must have.
func NewDevice(eoj EOJ, entries ...Entry) *Device {
	d := &Device{eoj: eoj}
	for _, e := range entries {
		if e.EPC < 0x80 {
			continue // no property has such a code, so nobody can ask for it
		}
		d.entries[e.EPC-0x80] = &e
		d.values[e.EPC-0x80] = bytes.Clone(e.Value)
	}
	for i, e := range d.entries {
		if e == nil {
			continue
		}
		epc := byte(0x80 + i)
		d.maps.Get.Add(epc)
		if e.Write != nil {
			d.maps.Set.Add(epc)
		}
		if e.Announce {
			d.maps.Announce.Add(epc)
		}
	}
	d.maps.Get = d.maps.Get.Union(mapProperties)
	return d
}

// EOJ implements Object.
func (d *Device) EOJ() EOJ { return d.eoj }

// Properties implements Object.
func (d *Device) Properties() PropertyMaps { return d.maps }

// Begin implements Object.
func (d *Device) Begin(Request) Access { return d }

// Get implements Access. The result is not to be changed.
func (d *Device) Get(epc byte) (edt []byte, ok bool) {
	if epc < 0x80 || d.entries[epc-0x80] == nil {
		return nil, false
	}
	if read := d.entries[epc-0x80].Read; read != nil {
		edt = read()
		return edt, edt != nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	edt = d.values[epc-0x80]
	return edt, edt != nil
}

// Set implements Access.
func (d *Device) Set(epc byte, edt []byte) bool {
	if epc < 0x80 || d.entries[epc-0x80] == nil {
		return false
	}
	e := d.entries[epc-0x80]
	if e.Write == nil || !e.Write(edt) {
		return false
	}
	if e.Read == nil {
		d.Update(epc, edt)
	}
	return true
}

// Update gives a property of the table a new value, of which it keeps a copy.
// It sends nothing: Node.Notify does.
func (d *Device) Update(epc byte, edt []byte) {
	if epc < 0x80 || d.entries[epc-0x80] == nil {
		return
	}
	v := append(make([]byte, 0, len(edt)), edt...)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.values[epc-0x80] = v
}
