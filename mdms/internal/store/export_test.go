package store

import "context"

// WriterSetting returns a PRAGMA of the writer's connection.
func (s *Store) WriterSetting(ctx context.Context, pragma string) (value string, err error) {
	err = s.write.db.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&value)
	return value, err
}
