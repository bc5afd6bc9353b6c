package store

import (
	"context"
	"time"

	"github.com/meterseal/meterseal/eventlog"
)

// Proof is a refused bundle that the meter's own signature speaks against it
// with.
type Proof struct {
	Verdict  string
	Segment  uint32
	Length   uint64          // that the bundle's seal signs
	Digest   eventlog.Digest // that the bundle's seal signs
	Bundle   []byte          // as received
	Seal     []byte          // ours at that time, encoded; empty = none
	Received time.Time
}

// AddProof keeps a proof unless it is there already, or the meter has limit of
// that verdict: more would prove nothing more.
func (t *Tx) AddProof(ctx context.Context, id eventlog.MeterID, p Proof, limit int) error {
	n, err := value[int](ctx, &t.View, `SELECT COUNT(*) FROM proofs WHERE tenant = $1 AND meter = $2 AND verdict = $3`,
		t.tenant, id.String(), p.Verdict)
	if err != nil || n >= limit {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO proofs (tenant, meter, verdict, segment, length, digest, bundle, seal, received)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant, meter, verdict, segment, length, digest) DO NOTHING`,
		t.tenant, id.String(), p.Verdict, p.Segment, int64(p.Length), p.Digest[:], p.Bundle, append([]byte{}, p.Seal...), millis(p.Received))
	return err
}

// Proofs returns the proofs against a meter, oldest first, at most limit.
func (v *View) Proofs(ctx context.Context, id eventlog.MeterID, limit int) ([]Proof, error) {
	return list(ctx, v, func(p *Proof, scan func(...any) error) error {
		var length int64
		err := scan(&p.Verdict, &p.Segment, &length, into32{(*[32]byte)(&p.Digest)}, &p.Bundle, &p.Seal, intoTime{&p.Received})
		p.Length = uint64(length)
		return err
	}, `SELECT verdict, segment, length, digest, bundle, seal, received FROM proofs
		WHERE tenant = $1 AND meter = $2 ORDER BY received, verdict, segment LIMIT $3`, v.tenant, id.String(), limit)
}
