package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/mdms/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path, "tenant")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func meter(n int) eventlog.MeterID {
	id, err := eventlog.ParseMeterID(fmt.Sprintf("FFFFFF-MS%010d", n))
	if err != nil {
		panic(err)
	}
	return id
}

// add is a change that adds meter n.
func add(ctx context.Context, n int) func(*store.Tx) error {
	return func(t *store.Tx) error {
		_, err := t.AddMeter(ctx, meter(n), time.Unix(1, 0))
		return err
	}
}

// has reports which of the meters 0 to n-1 are there.
func has(t *testing.T, s *store.Store, n int) []int {
	t.Helper()
	var there []int
	err := s.Read(t.Context(), func(v *store.View) error {
		for i := range n {
			switch _, err := v.Head(t.Context(), meter(i)); {
			case err == nil:
				there = append(there, i)
			case !errors.Is(err, store.ErrNotFound):
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return there
}

// TestChangesShareACommitAndNoFate queues changes behind one that is held, so
// that they share a commit. One fails after it wrote, one meets a conflict,
// one gives up: the others are not disturbed.
func TestChangesShareACommitAndNoFate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "db"))
		hold := make(chan struct{})
		errs := make([]error, 7)
		var wg sync.WaitGroup
		begin := func(n int, ctx context.Context, do func(*store.Tx) error) {
			wg.Go(func() { errs[n] = s.Update(ctx, do) })
			synctest.Wait() // until it waits for its turn
		}
		ctx := context.Background()
		poison := errors.New("poison")
		gaveUp, giveUp := context.WithCancel(ctx)
		begin(0, ctx, func(tx *store.Tx) error { <-hold; return add(ctx, 0)(tx) })
		begin(1, ctx, add(ctx, 1))
		begin(2, ctx, func(tx *store.Tx) error { return errors.Join(add(ctx, 2)(tx), poison) })
		begin(3, ctx, add(ctx, 3))
		begin(4, ctx, func(tx *store.Tx) error { return tx.Swap(ctx, store.Head{Meter: meter(1), Rev: 99}) })
		begin(5, gaveUp, add(ctx, 5))
		begin(6, ctx, add(ctx, 6))
		giveUp()
		synctest.Wait()
		close(hold)
		wg.Wait()
		for n, want := range []error{nil, nil, poison, nil, store.ErrConflict, context.Canceled, nil} {
			if !errors.Is(errs[n], want) {
				t.Errorf("change %d: %v, want %v", n, errs[n], want)
			}
		}
		if got, want := has(t, s, 7), []int{0, 1, 3, 6}; !slices.Equal(got, want) {
			t.Errorf("%v are there, want %v", got, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAConflictAmongOthersStaysAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "db"))
		defer s.Close()
		ctx := context.Background()
		if err := s.Update(ctx, add(ctx, 0)); err != nil {
			t.Fatal(err)
		}
		hold, runs := make(chan struct{}), 0
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Update(ctx, func(*store.Tx) error { <-hold; return nil }) })
		synctest.Wait()
		errs := make([]error, 3)
		for i := range errs { // each swaps from the same revision: one can win
			wg.Go(func() {
				errs[i] = s.Update(ctx, func(tx *store.Tx) error {
					runs++
					return tx.Swap(ctx, store.Head{Meter: meter(0), Rev: 1})
				})
			})
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, store.ErrConflict):
				t.Error(err)
			}
		}
		if won != 1 || runs != len(errs) {
			t.Errorf("%d won in %d runs, want one, and a conflict no reason to run all again", won, runs)
		}
	})
}

// TestAViewStandsStill: what is read in one view is of one moment.
func TestAViewStandsStill(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	defer s.Close()
	if err := s.Update(t.Context(), add(t.Context(), 0)); err != nil {
		t.Fatal(err)
	}
	err := s.Read(t.Context(), func(v *store.View) error {
		before, err := v.Head(t.Context(), meter(0))
		if err != nil {
			return err
		}
		if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Touch(t.Context(), meter(0)) }); err != nil {
			return err
		}
		after, err := v.Head(t.Context(), meter(0))
		if err == nil && after.Rev != before.Rev {
			t.Errorf("revision %d became %d", before.Rev, after.Rev)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	a := open(t, path)
	defer a.Close()
	b, err := store.Open(t.Context(), path, "another")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := a.Update(t.Context(), add(t.Context(), 0)); err != nil {
		t.Fatal(err)
	}
	if got := has(t, b, 1); len(got) != 0 {
		t.Error("another tenant sees the meter")
	}
	if err := b.Update(t.Context(), add(t.Context(), 0)); err != nil {
		t.Errorf("another tenant cannot have a meter of that id: %v", err)
	}
}

func TestALogIsNeverWrittenOver(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "db"))
	defer s.Close()
	put := func(b string) error {
		return s.Update(t.Context(), func(tx *store.Tx) error {
			return tx.AppendLog(t.Context(), meter(0), 1, 0, []byte(b), time.Unix(1, 0))
		})
	}
	if err := put("first"); err != nil {
		t.Fatal(err)
	}
	if err := put("other"); err == nil {
		t.Error("other bytes took the place of those that are there")
	}
	err := s.Read(t.Context(), func(v *store.View) error {
		log, err := v.Log(t.Context(), meter(0), 1)
		if err == nil && string(log) != "first" {
			t.Errorf("the log is %q", log)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestKeysBeginWithTenantAndMeter holds the schema to what lets the meter be
// the distribution key of a larger store.
func TestKeysBeginWithTenantAndMeter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	open(t, path).Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(`SELECT m.name, group_concat(c.name ORDER BY c.pk) FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
		WHERE m.type = 'table' AND c.pk > 0 GROUP BY m.name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	reference := map[string]string{"schema_version": "one", "key_owners": "tenant,key_id"}
	n := 0
	for rows.Next() {
		var table, key string
		if err := rows.Scan(&table, &key); err != nil {
			t.Fatal(err)
		}
		n++
		if want, ok := reference[table]; ok && key == want {
			continue
		}
		if !strings.HasPrefix(key+",", "tenant,meter,") {
			t.Errorf("the key of %s is (%s)", table, key)
		}
	}
	if err := rows.Err(); err != nil || n < 15 {
		t.Errorf("%d tables, %v", n, err)
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	open(t, path).Close()
	open(t, path).Close() // once more finds nothing to do
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE schema_version SET version = 99`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if s, err := store.Open(t.Context(), path, "tenant"); err == nil {
		s.Close()
		t.Error("opened")
	} else if !strings.Contains(err.Error(), "newer") {
		t.Error(err)
	}
}

// TestTheStoreIsDurable holds the settings to what an acknowledgement promises.
// TestAnOlderStoreIsBroughtUpToDate begins with a store of schema 1 that has a
// meter, as the first version made it.
func TestAnOlderStoreIsBroughtUpToDate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	schema, err := os.ReadFile("schema_sqlite.sql")
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		string(schema),
		`CREATE TABLE schema_version (one BIGINT PRIMARY KEY, version BIGINT NOT NULL); INSERT INTO schema_version VALUES (1, 1)`,
		`INSERT INTO meters VALUES ('tenant', 'FFFFFF-MS0000000000', 1000)`,
		`INSERT INTO heads (tenant, meter, rev, segment, since, stale, tail, findings, reread) VALUES ('tenant', 'FFFFFF-MS0000000000', 1, 0, 1000, 0, 0, CAST('[]' AS BLOB), 5)`,
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	db.Close()
	for range 2 {
		s := open(t, path)
		if got := has(t, s, 1); !slices.Equal(got, []int{0}) {
			t.Errorf("%v are there", got)
		}
		err := s.Update(t.Context(), func(tx *store.Tx) error {
			_, _, err := tx.Doubt(t.Context(), meter(0), "a", [32]byte{1}, time.Unix(2, 0), time.Unix(1, 0))
			return err
		})
		if err != nil {
			t.Error(err)
		}
		s.Close()
	}
}

func TestTheStoreIsDurable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a path with ? and #")
	s := open(t, path)
	defer s.Close()
	if err := s.Update(t.Context(), add(t.Context(), 0)); err != nil {
		t.Fatal(err)
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000"} {
		got, err := s.WriterSetting(t.Context(), pragma)
		if err != nil || got != want {
			t.Errorf("%s is %q, want %q; %v", pragma, got, want, err)
		}
	}
}
