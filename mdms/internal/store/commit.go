package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// job is one change that waits to be committed.
type job struct {
	do   func(*Tx) error
	err  error
	done chan struct{} // closed when err stands
}

// maxBatch bounds the changes that share one commit.
const maxBatch = 128

// Update makes one change, durably: when it returns nil the change is on disk.
//
// Changes that wait for the same commit share it. Whoever finds nobody
// committing commits for all that wait; nobody waits for company. do may run
// more than once and in another caller's goroutine. It returns ErrConflict only
// before its first write; any other error undoes what it wrote.
func (s *Store) Update(ctx context.Context, do func(*Tx) error) error {
	j := &job{do: do, done: make(chan struct{})}
	s.mu.Lock()
	s.queue = append(s.queue, j)
	s.mu.Unlock()
	for {
		select {
		case <-j.done:
			return j.err
		case s.lead <- struct{}{}:
			// The caller may give up; those it commits for have not.
			s.commit(context.WithoutCancel(ctx), s.take())
			<-s.lead
		case <-ctx.Done():
			if s.withdraw(j) {
				return ctx.Err()
			}
			<-j.done
			return j.err
		}
	}
}

func (s *Store) take() []*job {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.queue), maxBatch)
	batch := slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return batch
}

// withdraw reports whether j was still waiting.
func (s *Store) withdraw(j *job) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.queue, j)
	if i < 0 {
		return false
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	return true
}

// commit commits the batch as one, or, if a job fails, each job by itself, so
// that one of them cannot block the rest.
func (s *Store) commit(ctx context.Context, batch []*job) {
	if len(batch) == 0 {
		return
	}
	if len(batch) == 1 || s.attempt(ctx, batch) != nil {
		for _, j := range batch {
			j.err = nil
			if err := s.attempt(ctx, []*job{j}); err != nil {
				j.err = err
			}
		}
	}
	for _, j := range batch {
		close(j.done)
	}
}

// attempt runs the jobs in one transaction. An error means that none of them
// had an effect. A job that met a conflict had none and disturbs no other.
func (s *Store) attempt(ctx context.Context, batch []*job) error {
	tx, err := s.write.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("mdms: write: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // without effect after Commit
	for _, j := range batch {
		j.err = j.do(&Tx{View{tx, s.write, s.tenant}})
		if j.err != nil && !errors.Is(j.err, ErrConflict) {
			return j.err
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("mdms: commit: %w", err)
	}
	return nil
}
