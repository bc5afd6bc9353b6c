package bench

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// BenchmarkDurableEventTessera appends one 64-byte entry at a time to a
// tessera POSIX log and waits until it is durable: batches of one, one writer,
// the setting nearest to a meter's.
func BenchmarkDurableEventTessera(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	driver, err := posix.New(ctx, posix.Config{Path: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	key, _, err := note.GenerateKey(rand.Reader, "bench.test")
	if err != nil {
		b.Fatal(err)
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		b.Fatal(err)
	}
	appender, shutdown, _, err := tessera.NewAppender(ctx, driver,
		tessera.NewAppendOptions().WithCheckpointSigner(signer).WithBatching(1, time.Millisecond))
	if err != nil {
		b.Fatal(err)
	}
	entry := make([]byte, 64)
	for b.Loop() {
		index, err := appender.Add(ctx, tessera.NewEntry(entry))()
		if err != nil {
			b.Fatal(err)
		}
		entry[0], entry[1], entry[2] = byte(index.Index>>16), byte(index.Index>>8), byte(index.Index)
	}
	b.StopTimer()
	if err := shutdown(ctx); err != nil {
		b.Log(err)
	}
}
