package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
)

const (
	stateName    = "meter.json"
	stateVersion = 1
	maxState     = 1 << 20
)

// state is what the meter remembers beside its log. It is written last at the
// first start: while it does not exist, the log was never born.
type state struct {
	Version   int              `json:"version"`
	Meter     eventlog.MeterID `json:"meter"`
	Key       []byte           `json:"key"` // that seals the newest segment, SubjectPublicKeyInfo in DER
	Scheme    eventlog.Scheme  `json:"scheme"`
	Boot      uint32           `json:"boot"` // of the newest start
	Profile   eventlog.Profile `json:"profile"`
	Policy    eventlog.Policy  `json:"policy"`
	Installed time.Time        `json:"installed"`        // when the household's registers stood at zero
	Offset    time.Duration    `json:"clock_offset_ns"`  // what SetClock added to the host's clock
	Location  []byte           `json:"location"`         // installation location, EPC 81
	Former    [][]byte         `json:"former,omitempty"` // keys that sealed earlier segments, as Key
	Next      *next            `json:"next,omitempty"`   // a change that was begun
}

// next is a change of key or policy that may be in force already: it is if the
// newest segment says so. By itself it changes nothing.
type next struct {
	Key    []byte           `json:"key,omitempty"`
	Scheme eventlog.Scheme  `json:"scheme,omitempty"`
	Policy *eventlog.Policy `json:"policy,omitempty"`
}

// loadState reads the state; born is false if there is none.
func loadState(dir durable.FS) (s state, born bool, err error) {
	b, err := durable.ReadFile(dir, stateName, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return state{Version: stateVersion, Location: []byte{0}}, false, nil
	}
	if err != nil {
		return state{}, false, fmt.Errorf("device: state: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return state{}, false, damaged(err)
	}
	switch {
	case d.More():
		return state{}, false, damaged(errors.New("something follows the state"))
	case s.Version != stateVersion:
		return state{}, false, fmt.Errorf("device: state file %s: version %d, this program knows %d", stateName, s.Version, stateVersion)
	case !echonet.ValidLocation(s.Location):
		return state{}, false, damaged(fmt.Errorf("installation location % X", s.Location))
	}
	if _, err := s.publicKey(); err != nil {
		return state{}, false, damaged(err)
	}
	s.Policy = eventlog.NewPolicy(s.Policy.Version, s.Policy.Specific...)
	return s, true, nil
}

// damaged says what to do about a state file that cannot be read. It is written
// whole or not at all, so that no power cut explains it.
func damaged(err error) error {
	return fmt.Errorf("device: state file %s is damaged: %w: put a copy of it back, or move it away and start again, "+
		"which says how to go on without it", stateName, err)
}

// save makes the state durable.
func (s *state) save(dir durable.FS) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("device: state: %w", err)
	}
	if err := durable.WriteFile(dir, stateName, append(b, '\n')); err != nil {
		return fmt.Errorf("device: state: %w", err)
	}
	return nil
}

func (s *state) publicKey() (*ecdsa.PublicKey, error) { return parseKey(s.Key) }

func parseKey(der []byte) (*ecdsa.PublicKey, error) {
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	pub, ok := k.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("key: %T is no ECDSA key", k)
	}
	return pub, nil
}

func marshalKey(pub *ecdsa.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("device: public key: %w", err)
	}
	return der, nil
}

// setNext remembers a change before it is written to the log.
func (s *state) setNext(c *eventlog.Change) error {
	n := &next{Policy: c.Policy}
	if c.Key != nil {
		der, err := marshalKey(c.Key)
		if err != nil {
			return err
		}
		n.Key, n.Scheme = der, c.Scheme
	}
	s.Next = n
	return nil
}

// takeNext puts the remembered change into force.
func (s *state) takeNext() error {
	if n := s.Next; n != nil {
		if n.Key != nil {
			s.Former = append(s.Former, s.Key)
			s.Key, s.Scheme = n.Key, n.Scheme
		}
		if n.Policy != nil {
			s.Policy = *n.Policy
		}
	}
	s.Next = nil
	return nil
}

// change returns the remembered change as the log wants it, nil if there is
// none.
func (s *state) change() (*eventlog.Change, error) {
	if s.Next == nil {
		return nil, nil
	}
	c := &eventlog.Change{Policy: s.Next.Policy}
	if s.Next.Key != nil {
		pub, err := parseKey(s.Next.Key)
		if err != nil {
			return nil, err
		}
		c.Key, c.Scheme = pub, s.Next.Scheme
	}
	return c, nil
}
