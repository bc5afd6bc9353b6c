package device

import (
	"cmp"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/echonet"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement"
)

// Config is what a meter is made of. Only Dir, Module and Meter are required.
type Config struct {
	// Dir is the state directory: log, seals, and what the meter remembers. It
	// is created if it does not exist, and belongs to one process at a time.
	// A restored or copied directory is a rollback or a fork, and is meant to
	// look like one. Required.
	Dir string
	// Module holds the key. It stays the caller's to close. Required.
	Module secureelement.Module
	// Meter is the id for life. Required.
	Meter eventlog.MeterID

	// Policy is the set of specific events; the zero value makes every event
	// specific. A set that differs from the one in force changes it at the next
	// Open, as ChangePolicy does; its version is counted by the meter.
	Policy eventlog.Policy
	// Profile gives event codes their meaning. Default: none. It is fixed at
	// the first start.
	Profile eventlog.Profile
	// Release is the release of the ECHONET Lite appendix that the meter
	// follows: 'F' or 'R'. Default 'R'.
	Release byte
	// Product is the product code, at most 12 ASCII characters. Default
	// "METERSEAL".
	Product string

	// SegmentSize is the size in bytes at which a segment ends. Default 1 MiB.
	SegmentSize int64
	// StoreSize is how many bytes of log are kept: at least four segments and
	// the reserve. Default 64 MiB.
	StoreSize int64
	// Reserve is the part of StoreSize, in bytes, that only fraud and security
	// events may use. Default an eighth of StoreSize.
	Reserve int64

	// SignTimeout bounds one call of the module, and how long Record waits for
	// a seal. Default 2 s.
	SignTimeout time.Duration
	// PeriodicSeal is the uptime after the last seal at which the meter makes
	// one, whatever has happened. Default and maximum 24 h.
	PeriodicSeal time.Duration
	// ProbeInterval is how often a module that failed is asked for its
	// counter. Default 5 s.
	ProbeInterval time.Duration

	// FloodBurst and FloodRate limit the events that are recorded: so many at
	// once, and then so many a minute, of uptime. What is above is counted. Fraud
	// and security events have a limit of their own, of the same size; the
	// meter's own records have none. Defaults 500 and 600.
	FloodBurst, FloodRate int

	// MDMSKeys are the P-256 keys of the MDMS. Without one, challenges and
	// receipts are refused.
	MDMSKeys []*ecdsa.PublicKey
	// ChallengeInterval is the uptime in which one more challenge is accepted;
	// four may come at once. Default 15 s.
	ChallengeInterval time.Duration
	// ChallengeDaily is how many challenges are accepted in 24 h of uptime.
	// Default 96.
	ChallengeDaily int

	// Chain is the certificate chain of the key, DER, leaf first, that the meter
	// offers to collectors. Default: none.
	Chain []byte

	// Household is what stands behind the meter. Defaults: a seed made of the
	// meter id, and the first start as the time of Installed's default, so that
	// registers survive restarts.
	Household HouseholdConfig
	// NoEventSocket leaves out the socket of SendEvent: for a meter inside
	// another program.
	NoEventSocket bool
	// LinkClock lets other nodes set the meter's clock over ECHONET Lite (97,
	// 98), which knows nobody by more than an address. CLOCK_SET tells of each
	// time. Default: refused.
	LinkClock bool
	// Reply says where answers go, Announce who gets notifications beside the
	// groups of the links.
	Reply    echonet.ReplyPolicy
	Announce []net.Addr

	// Now is the host's clock. Default time.Now.
	Now func() time.Time
	// Uptime is the time since the meter started, from a clock that is never
	// set and goes at the pace of Now. Default: what passes by Now, by its
	// monotonic reading if it has one.
	Uptime func() time.Duration
	// Logger gets the meter's life cycle and faults. Default: discard.
	Logger *slog.Logger
	// Trace, if not nil, is called with every step of the path from event to
	// seal, in order. It returns at once and calls no method of the Meter.
	Trace func(Step)
}

// Defaults of Config.
const (
	defaultSegmentSize  = 1 << 20
	defaultStoreSize    = 64 << 20
	defaultSignTimeout  = 2 * time.Second
	maxPeriodicSeal     = 24 * time.Hour
	defaultProbe        = 5 * time.Second
	defaultFloodBurst   = 500
	defaultFloodRate    = 600
	defaultChallengeGap = 15 * time.Second
	defaultChallenges   = 96
	challengeBurst      = 4
	defaultProduct      = "METERSEAL"
)

func (c Config) withDefaults() (Config, error) {
	c.Release = cmp.Or(c.Release, 'R')
	c.Product = cmp.Or(c.Product, defaultProduct)
	c.SegmentSize = cmp.Or(c.SegmentSize, defaultSegmentSize)
	c.StoreSize = cmp.Or(c.StoreSize, defaultStoreSize)
	c.Reserve = cmp.Or(c.Reserve, c.StoreSize/8)
	c.SignTimeout = cmp.Or(c.SignTimeout, defaultSignTimeout)
	c.PeriodicSeal = cmp.Or(c.PeriodicSeal, maxPeriodicSeal)
	c.ProbeInterval = cmp.Or(c.ProbeInterval, defaultProbe)
	c.FloodBurst = cmp.Or(c.FloodBurst, defaultFloodBurst)
	c.FloodRate = cmp.Or(c.FloodRate, defaultFloodRate)
	c.ChallengeInterval = cmp.Or(c.ChallengeInterval, defaultChallengeGap)
	c.ChallengeDaily = cmp.Or(c.ChallengeDaily, defaultChallenges)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Uptime == nil {
		start, now := c.Now(), c.Now
		c.Uptime = func() time.Duration { return now().Sub(start) }
	}
	c.Uptime = rising(c.Uptime)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Trace == nil {
		c.Trace = func(Step) {}
	}
	c.Policy = eventlog.NewPolicy(c.Policy.Version, c.Policy.Specific...)
	return c, c.check()
}

// rising makes a clock that never goes back.
func rising(clock func() time.Duration) func() time.Duration {
	var highest atomic.Int64
	return func() time.Duration {
		now := int64(clock())
		for {
			before := highest.Load()
			if now <= before {
				return time.Duration(before)
			}
			if highest.CompareAndSwap(before, now) {
				return time.Duration(now)
			}
		}
	}
}

// Bounds of Config.SegmentSize, in bytes. The lower one leaves room for a header,
// a few records and SEGMENT_END. The upper one is half a bundle, which a segment
// has to fit into, and is not demanded of it by Open.
const (
	MinSegmentSize = 4096
	MaxSegmentSize = eventlog.MaxBundle / 2
)

// MinStoreSize returns a Config.StoreSize, in bytes, that is enough for segments
// of that size with the default reserve.
func MinStoreSize(segmentSize int64) int64 { return (32*segmentSize + 6) / 7 }

func (c *Config) check() error {
	switch {
	case c.Dir == "":
		return errors.New("device: no state directory is given")
	case c.Module == nil:
		return errors.New("device: no secure element is given")
	case !c.Meter.Valid():
		return fmt.Errorf("device: meter id %v: the serial number is not printable ASCII", c.Meter)
	case c.Release != 'F' && c.Release != 'R':
		return fmt.Errorf("device: release %q: want F or R", c.Release)
	case len(c.Product) > 12:
		return fmt.Errorf("device: product code %q: at most 12 characters", c.Product)
	case c.SegmentSize < MinSegmentSize:
		return fmt.Errorf("device: segment size %d: at least %d bytes", c.SegmentSize, MinSegmentSize)
	case c.Reserve < 0 || c.Reserve >= c.StoreSize:
		return fmt.Errorf("device: reserve of %d bytes in a store of %d", c.Reserve, c.StoreSize)
	case c.StoreSize-c.Reserve < 4*c.SegmentSize:
		return fmt.Errorf("device: store size %d: without the reserve, at least four segments of %d bytes", c.StoreSize, c.SegmentSize)
	case c.PeriodicSeal < 0 || c.PeriodicSeal > maxPeriodicSeal:
		return fmt.Errorf("device: periodic seal every %v: at most %v", c.PeriodicSeal, maxPeriodicSeal)
	case c.SignTimeout < 0 || c.ProbeInterval < 0 || c.ChallengeInterval < 0:
		return errors.New("device: a time limit is negative")
	case c.FloodBurst < 0 || c.FloodRate < 0 || time.Duration(c.FloodRate) > time.Minute || c.ChallengeDaily < 0 || time.Duration(c.ChallengeDaily) > 24*time.Hour:
		return errors.New("device: a rate is out of range")
	}
	for _, k := range c.MDMSKeys {
		if _, err := eventlog.KeyIDOf(k); err != nil {
			return fmt.Errorf("device: key of the MDMS: %w", err)
		}
	}
	return nil
}
