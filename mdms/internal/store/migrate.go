package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
)

//go:embed schema_sqlite.sql
var schema1 string

//go:embed schema_sqlite_2.sql
var schema2 string

// migrations bring a store from schema version i to i+1.
var migrations = []string{schema1, schema2}

// migrate brings the schema up to date, one version a transaction. Two
// processes may do so at once: the second finds nothing left to do.
func migrate(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_version (one BIGINT PRIMARY KEY, version BIGINT NOT NULL)`); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	for {
		done, err := migrateStep(ctx, db)
		if done || err != nil {
			return err
		}
	}
}

func migrateStep(ctx context.Context, db *sql.DB) (done bool, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("schema: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // without effect after Commit
	var version int
	err = tx.QueryRowContext(ctx, `SELECT version FROM schema_version WHERE one = 1`).Scan(&version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return false, fmt.Errorf("schema: %w", err)
	case version > len(migrations):
		return false, fmt.Errorf("schema version %d is newer than this program knows, %d", version, len(migrations))
	case version == len(migrations):
		return true, nil
	}
	if _, err := tx.ExecContext(ctx, migrations[version]); err != nil {
		return false, fmt.Errorf("schema version %d: %w", version+1, err)
	}
	const set = `INSERT INTO schema_version (one, version) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET version = EXCLUDED.version`
	if _, err := tx.ExecContext(ctx, set, version+1); err != nil {
		return false, fmt.Errorf("schema version %d: %w", version+1, err)
	}
	return false, tx.Commit()
}
