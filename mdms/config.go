package mdms

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Config says where the MDMS keeps its data and what it tolerates.
type Config struct {
	// Store is the path of the SQLite file. Required; made if missing, unless
	// Existing says that it is there.
	Store string
	// Existing makes nothing: a store or a signing key that is missing is
	// ErrNoStore or ErrNoKey.
	Existing bool
	// Key is the path of the file with the MDMS's signing key, PKCS #8 in PEM,
	// mode 0600. Default: Store with ".key" appended. Made if missing, as long
	// as the store has no meters: those were given the key that is gone.
	Key string
	// Tenant separates the data of several owners in one store. Default "default".
	Tenant string
	// Limits bounds what others can make the MDMS do.
	Limits Limits
	// TLS is the server's certificate, and whose certificates couriers have.
	// Without it [Server.Listen] takes loopback addresses only.
	TLS TLS
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger takes what an operator may want to know. Default: nothing.
	Logger *slog.Logger
	// Trace, if set, is called with each bundle's result before it is
	// returned, in the goroutine of the caller of Ingest.
	Trace func(courier string, r *Result)
}

// Limits are bounds. Each zero field takes its default.
type Limits struct {
	// StaleAfter is the time without a new head after which a meter is STALE.
	// A meter seals at least once in 24 h. Default 26 h.
	StaleAfter time.Duration
	// ChallengeLife is how long a meter may take to answer a challenge.
	// Default 2 h.
	ChallengeLife time.Duration
	// ChallengeEvery is the least time between two challenges of one meter:
	// each costs the meter a record and a signature. Default 1 min.
	ChallengeEvery time.Duration
	// ClockSkew is by how much the clocks of meters and couriers may lead
	// that of the MDMS. Default 5 min.
	ClockSkew time.Duration
	// RereadEvery is the least time between two requests to one courier to
	// send a segment of one meter again from its beginning. Default 1 h.
	RereadEvery time.Duration
	// Concurrent bounds the bundles that are worked on at once; more wait for
	// their turn, for as long as BodyTimeout. Default 32.
	Concurrent int
	// Readers and ReadersEach bound the bundles that are on their way in at
	// once, of all couriers and of each; more are told to come again. Each may
	// take eventlog.MaxBundle bytes. Defaults 64 and 16.
	Readers     int
	ReadersEach int
	// Polls and PollsEach bound the long polls that wait at once, of all
	// couriers and of each. Defaults 256 and 32.
	Polls     int
	PollsEach int
	// PollRepeat is how long a long poll keeps quiet about what it has told
	// the same courier. Default 30 s.
	PollRepeat time.Duration
	// BodyTimeout is the time in which a request body has to arrive. Default 20 s.
	BodyTimeout time.Duration
	// LoadBytes bounds the stored log that is read to judge one bundle: a small
	// bundle can ask for all that is held. Default four times
	// eventlog.MaxBundle.
	LoadBytes uint64
	// RejectedBundles and RejectedBytes bound what is kept of one courier's
	// refused bundles. Defaults 100 and 16 MiB.
	RejectedBundles int64
	RejectedBytes   int64
	// RejectedTotal and RejectedTotalBytes bound what is kept of all couriers'
	// refused bundles together. Defaults 5000 and 512 MiB.
	RejectedTotal      int64
	RejectedTotalBytes int64
	// Addresses bounds, for each meter, the couriers without a certificate of
	// which it is known what stands against them: they have no name but their
	// address. The one charged longest ago is forgotten first; couriers with a
	// certificate never are. Default 64.
	Addresses int
}

func (c Config) withDefaults() Config {
	c.Key = cmp.Or(c.Key, c.Store+".key")
	c.Tenant = cmp.Or(c.Tenant, "default")
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	l := &c.Limits
	l.StaleAfter = cmp.Or(l.StaleAfter, 26*time.Hour)
	l.ChallengeLife = cmp.Or(l.ChallengeLife, 2*time.Hour)
	l.ChallengeEvery = cmp.Or(l.ChallengeEvery, time.Minute)
	l.ClockSkew = cmp.Or(l.ClockSkew, 5*time.Minute)
	l.RereadEvery = cmp.Or(l.RereadEvery, time.Hour)
	l.Concurrent = cmp.Or(l.Concurrent, 32)
	l.Readers = cmp.Or(l.Readers, 64)
	l.ReadersEach = cmp.Or(l.ReadersEach, 16)
	l.Polls = cmp.Or(l.Polls, 256)
	l.PollsEach = cmp.Or(l.PollsEach, 32)
	l.PollRepeat = cmp.Or(l.PollRepeat, 30*time.Second)
	l.BodyTimeout = cmp.Or(l.BodyTimeout, 20*time.Second)
	l.LoadBytes = cmp.Or(l.LoadBytes, 4*eventlog.MaxBundle)
	l.RejectedBundles = cmp.Or(l.RejectedBundles, 100)
	l.RejectedBytes = cmp.Or(l.RejectedBytes, 16<<20)
	l.RejectedTotal = cmp.Or(l.RejectedTotal, 5000)
	l.RejectedTotalBytes = cmp.Or(l.RejectedTotalBytes, 512<<20)
	l.Addresses = cmp.Or(l.Addresses, 64)
	return c
}
