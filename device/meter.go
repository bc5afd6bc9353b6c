package device

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meterseal/meterseal/echonet/meter"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/internal/durable"
	"github.com/meterseal/meterseal/secureelement"
)

// Meter is a running meter. Its methods may be called concurrently.
type Meter struct {
	cfg      Config
	lock     *os.File
	dir      durable.FS
	log      *eventlog.Log
	readings *readings
	object   *meter.Meter
	mdms     *mdms

	running atomic.Bool
	ready   chan struct{} // closed when the event socket is bound
	once    sync.Once     // closes ready

	appender chan struct{} // full while somebody holds the log
	limits   limits        // guarded by the log being held
	watch    clockWatch    // guarded by the log being held
	ended    bool          // a seal closed the newest segment; changed by the sealer with the log held

	// What the sealer alone uses, or Open before there is one.
	module secureelement.Module
	info   secureelement.Info // key and scheme of module
	asked  uint32             // sequence number of the last record that a signature was asked for
	lost   bool               // that signature may have been made, and is no seal
	retry  time.Time          // when to ask the module again, zero if it is well
	change *change            // under way, nil if none
	wanted *eventlog.Policy   // to be compared with the one in force, nil if it was

	wake      chan struct{}      // to the sealer, capacity 1
	orders    chan order         // to the sealer
	dirty     chan struct{}      // the state is to be written, capacity 1
	clockSets chan time.Duration // by how much other nodes move the clock
	news      news               // of seals and faults

	saving sync.Mutex // held while the state is written

	mu           sync.Mutex // guards what follows
	state        state
	up           bool          // the module answers
	broken       bool          // the store does not take what it should
	lastSeal     time.Duration // uptime
	lastPeriodic time.Duration // uptime of the last PERIODIC_SEAL
	notBefore    int64         // the clock is not trusted while it shows less, ms since the Unix epoch; 0 = it is
	stamped      int64         // the latest time that a record has told, ms since the Unix epoch
}

// logName is the directory of the log in the state directory.
const logName = "log"

// Open starts the meter of a state directory: it takes the lock, opens the log,
// records BOOT, and, where Config asks for another set of specific events,
// changes it. At the first start it also makes the first seal and then, last,
// writes down that the log is born; a first start that is cut off is done again,
// with nothing of the first try. eventlog.ErrSignedBefore: there is no log, and
// the secure element has signed more than such tries explain.
//
// A secure element that does not answer delays seals only, except at the first
// start. It may answer late: ctx bounds the start alone. Close ends the meter.
func Open(ctx context.Context, cfg Config) (*Meter, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := makeDirs(cfg.Dir); err != nil {
		return nil, fmt.Errorf("device: state directory: %w", err)
	}
	lock, err := durable.Lock(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("device: state directory: %w", err)
	}
	m, err := open(ctx, cfg)
	if err != nil {
		lock.Close()
		return nil, err
	}
	m.lock = lock
	return m, nil
}

// makeDirs makes the state directory and that of the log, so that a power cut
// does not take them away with all that is in them.
func makeDirs(dir string) error {
	log := filepath.Join(dir, logName)
	if _, err := os.Stat(log); err == nil {
		return nil
	}
	if err := os.MkdirAll(log, 0o700); err != nil {
		return err
	}
	for _, d := range []string{dir, filepath.Dir(filepath.Clean(dir))} {
		fsys, err := durable.Dir(d)
		if err != nil {
			return err
		}
		if err := fsys.SyncDir(); err != nil {
			return err
		}
	}
	return nil
}

func open(ctx context.Context, cfg Config) (*Meter, error) {
	dir, err := durable.Dir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	m := &Meter{
		cfg: cfg, dir: dir, limits: newLimits(&cfg),
		ready: make(chan struct{}), appender: make(chan struct{}, 1),
		wake: make(chan struct{}, 1), orders: make(chan order), dirty: make(chan struct{}, 1),
		clockSets: make(chan time.Duration, 1),
	}
	if m.mdms, err = newMDMS(&cfg); err != nil {
		return nil, err
	}
	born, err := m.load()
	if err != nil {
		return nil, err
	}
	m.readings = newReadings(m)
	if err := m.start(ctx, born); err != nil {
		if m.log != nil {
			m.log.Close()
		}
		return nil, err
	}
	return m, nil
}
