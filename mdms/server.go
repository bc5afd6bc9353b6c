package mdms

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

// Errors that a caller decides on.
var (
	// ErrNotFound says that there is no such meter or alert.
	ErrNotFound = store.ErrNotFound
	// ErrInvalid says that the request cannot be carried out as it stands.
	ErrInvalid = errors.New("mdms: invalid")
	// ErrBusy says that too much is going on: the same request may succeed later.
	ErrBusy = errors.New("mdms: busy")
	// ErrNoStore says that there is no store where one is said to be.
	ErrNoStore = errors.New("mdms: there is no store")
	// ErrNoKey says that the signing key is missing, and that none is made.
	ErrNoKey = errors.New("mdms: the signing key is missing")
	// ErrTooSoon says that a meter has answered a challenge a moment ago.
	ErrTooSoon = errors.New("mdms: the meter has just answered a challenge")
)

// Server is the MDMS. Its methods may be called at the same time, and several
// processes may have the same store open.
type Server struct {
	cfg   Config
	log   *slog.Logger
	store *store.Store
	key   *ecdsa.PrivateKey
	slots chan struct{} // one token per bundle in work

	readers *crowd // of request bodies
	polls   *crowd // long polls that wait
	work    notifier
	told    told
}

// Open opens the store and the signing key, making what is missing as far as
// the configuration allows.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Store == "" {
		return nil, fmt.Errorf("%w: Config.Store is required", ErrInvalid)
	}
	cfg = cfg.withDefaults()
	if _, err := os.Stat(cfg.Store); cfg.Existing && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w %s", ErrNoStore, cfg.Store)
	}
	st, err := store.Open(ctx, cfg.Store, cfg.Tenant)
	if err != nil {
		return nil, err
	}
	key, err := openKey(ctx, st, &cfg)
	if err != nil {
		st.Close()
		return nil, err
	}
	return &Server{
		cfg: cfg, log: cfg.Logger, store: st, key: key,
		slots:   make(chan struct{}, cfg.Limits.Concurrent),
		readers: newCrowd(cfg.Limits.Readers, cfg.Limits.ReadersEach),
		polls:   newCrowd(cfg.Limits.Polls, cfg.Limits.PollsEach),
		work:    notifier{ended: make(chan struct{})},
	}, nil
}

// Close ends long polls and closes the store. No other method may be running
// or be called later.
func (s *Server) Close() error {
	s.endPolls()
	return s.store.Close()
}

// PublicKey returns the key that meters check receipts and challenges with.
func (s *Server) PublicKey() *ecdsa.PublicKey { return &s.key.PublicKey }

// PublicKeyPEM returns PublicKey as a PEM block "PUBLIC KEY", the form in which
// a meter is given it.
func (s *Server) PublicKeyPEM() ([]byte, error) { return encodePublicKey(s.PublicKey()) }

// Ping returns nil if the store answers.
func (s *Server) Ping(ctx context.Context) error {
	return s.store.Read(ctx, func(v *store.View) error {
		_, err := v.Meter(ctx, eventlog.MeterID{})
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
}

func (s *Server) now() time.Time { return s.cfg.Now() }
