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
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"modernc.org/sqlite" // also the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
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
	write  *pool
	read   *pool

	lead  chan struct{} // holds a token while somebody commits: there is one writer
	reads chan struct{} // one token per view

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
	readers := max(4, 2*runtime.GOMAXPROCS(0))
	s := &Store{tenant: tenant, lead: make(chan struct{}, 1), reads: make(chan struct{}, readers)}
	// Acknowledged means durable: synchronous FULL flushes each commit.
	// Writers begin immediate, since a read that turns into a write may
	// fail however long it waits.
	s.write, err = open(abs, 1, url.Values{"_txlock": {"immediate"}, "_journal_mode": {"WAL"}, "_synchronous": {"FULL"}})
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, s.write.db); err != nil {
		s.write.db.Close()
		return nil, fmt.Errorf("mdms: store %s: %w", path, reason(abs, err))
	}
	if s.read, err = open(abs, readers, url.Values{"_query_only": {"true"}}); err != nil {
		s.write.db.Close()
		return nil, err
	}
	return s, nil
}

// reason says in words why SQLite cannot open a file: its own error is a number.
// The file itself is not opened for that: closing it would drop the locks that
// this process has on it.
func reason(abs string, err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	dir := filepath.Dir(abs)
	switch e.Code() & 0xFF { // the rest is detail
	case sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("it is a file of another kind, no SQLite database: %w", err)
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
	default:
		return err
	}
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("make its directory first: %w", err)
	}
	if info, err := os.Stat(abs); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file: name one in it, such as %s", abs, filepath.Join(abs, "mdms.db"))
	}
	return fmt.Errorf("this user has to be allowed to write the file and its directory %s: %w", dir, err)
}

// pool is a database with its statements, each of which is parsed once per
// connection.
type pool struct {
	db *sql.DB

	mu    sync.Mutex // guards stmts
	stmts map[string]*sql.Stmt
}

// open opens a pool for users transactions at once. It sets no limit on
// connections: a statement that is new is first prepared beside the
// transaction that wants it.
func open(abs string, users int, q url.Values) (*pool, error) {
	q.Set("_busy_timeout", busyTimeout)
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: abs, RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("mdms: store %s: %w", abs, err)
	}
	db.SetMaxIdleConns(users + 1)
	return &pool{db: db, stmts: make(map[string]*sql.Stmt)}, nil
}

// prepare returns the statement for use in tx. Closing it leaves it prepared.
func (p *pool) prepare(ctx context.Context, tx *sql.Tx, query string) (*sql.Stmt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stmt := p.stmts[query]
	if stmt == nil {
		var err error
		if stmt, err = p.db.PrepareContext(ctx, query); err != nil {
			return nil, err
		}
		p.stmts[query] = stmt
	}
	return tx.StmtContext(ctx, stmt), nil
}

// Close ends all use of the store.
func (s *Store) Close() error { return errors.Join(s.read.db.Close(), s.write.db.Close()) }

// View reads one consistent state of the store.
type View struct {
	tx     *sql.Tx
	pool   *pool
	tenant string
}

// Read runs read on a view that no writer changes meanwhile.
func (s *Store) Read(ctx context.Context, read func(*View) error) error {
	select {
	case s.reads <- struct{}{}:
		defer func() { <-s.reads }()
	case <-ctx.Done():
		return ctx.Err()
	}
	tx, err := s.read.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("mdms: read: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return read(&View{tx, s.read, s.tenant})
}

// Tx is one durable change. It reads its own writes.
type Tx struct{ View }

// exec runs one statement and returns the number of rows that it changed.
func (t *Tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	stmt, err := t.pool.prepare(ctx, t.tx, query)
	if err != nil {
		return 0, err
	}
	defer stmt.Close()
	r, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// list scans all rows of a query. scan is called with the row's Scan.
func list[T any](ctx context.Context, v *View, scan func(*T, func(...any) error) error, query string, args ...any) ([]T, error) {
	stmt, err := v.pool.prepare(ctx, v.tx, query)
	if err != nil {
		return nil, err
	}
	defer stmt.Close()
	rows, err := stmt.QueryContext(ctx, args...)
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
	stmt, err := v.pool.prepare(ctx, v.tx, query)
	if err != nil {
		return t, err
	}
	defer stmt.Close()
	err = scan(&t, stmt.QueryRowContext(ctx, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return t, err
}

// value scans the only column of the only row of a query.
func value[T any](ctx context.Context, v *View, query string, args ...any) (T, error) {
	return one(ctx, v, func(t *T, scan func(...any) error) error { return scan(t) }, query, args...)
}
