// Package store keeps what the MDMS knows, durably, behind database/sql.
//
// The statements are the subset that SQLite and PostgreSQL run alike: $n
// placeholders, primary keys that begin with tenant and meter, times and ids
// as parameters, compare-and-swap instead of locks. Only the schema is one
// file per engine.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"sync"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Errors that a caller decides on.
var (
	// ErrNotFound says that there is no such row.
	ErrNotFound = errors.New("mdms: not found")
	// ErrConflict says that a head moved since it was read.
	ErrConflict = errors.New("mdms: the head moved")
)

// Store is the data of one tenant. Its methods may be called at the same time.
type Store struct {
	tenant string
	write  *sql.DB // one connection
	read   *sql.DB

	lead chan struct{} // holds a token while somebody commits

	mu    sync.Mutex // guards queue
	queue []*job
}

// busyTimeout bounds the wait for another process, such as one that enrols a
// meter, in ms. The driver has no default: without it the first collision is
// an error.
const busyTimeout = "10000"

// Open opens the SQLite file at path, makes it if it is missing, and brings
// its schema up to date.
func Open(ctx context.Context, path, tenant string) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("mdms: store %s: %w", path, err)
	}
	s := &Store{tenant: tenant, lead: make(chan struct{}, 1)}
	// Acknowledged means durable: synchronous FULL flushes each commit.
	// Writers begin immediate, since a read that turns into a write may
	// fail however long it waits.
	if s.write, err = open(abs, url.Values{"_txlock": {"immediate"}, "_journal_mode": {"WAL"}, "_synchronous": {"FULL"}}); err != nil {
		return nil, err
	}
	s.write.SetMaxOpenConns(1)
	if err := migrate(ctx, s.write); err != nil {
		s.write.Close()
		return nil, fmt.Errorf("mdms: store %s: %w", path, err)
	}
	if s.read, err = open(abs, url.Values{"_query_only": {"true"}}); err != nil {
		s.write.Close()
		return nil, err
	}
	s.read.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	return s, nil
}

func open(abs string, q url.Values) (*sql.DB, error) {
	q.Set("_busy_timeout", busyTimeout)
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: abs, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("mdms: store %s: %w", abs, err)
	}
	return db, nil
}

// Close ends all use of the store.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }

// queryer is what *sql.DB and *sql.Tx have in common.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// View reads one consistent state of the store.
type View struct {
	q      queryer
	tenant string
}

// Read runs read on a view that no writer changes meanwhile.
func (s *Store) Read(ctx context.Context, read func(*View) error) error {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("mdms: read: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return read(&View{tx, s.tenant})
}

// Tx is one durable change. It reads its own writes.
type Tx struct {
	View
	tx *sql.Tx
}

// exec runs one statement and returns the number of rows that it changed.
func (t *Tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := t.tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// list scans all rows of a query. scan is called with the row's Scan.
func list[T any](ctx context.Context, v *View, scan func(*T, func(...any) error) error, query string, args ...any) ([]T, error) {
	rows, err := v.q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var t T
		if err := scan(&t, rows.Scan); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// one scans the row of a query. No row is ErrNotFound.
func one[T any](ctx context.Context, v *View, scan func(*T, func(...any) error) error, query string, args ...any) (T, error) {
	var t T
	err := scan(&t, v.q.QueryRowContext(ctx, query, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return t, err
}
