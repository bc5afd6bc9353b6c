package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/meterseal/meterseal/controller"
	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
)

// attack is something that somebody does to the meter or to the evidence, and
// the answer that it must get.
type attack struct {
	name    string
	want    string             // the verdict
	outcome controller.Outcome // of the evidence
	finds   []string           // codes of the findings that tell of it; none = no finding at all
	text    string
	run     func(context.Context, *stage) (controller.Answer, error)
}

var attackList = []attack{
	{
		"alteration", "ALTERED", controller.Rejected,
		[]string{verify.FindOtherBytes, verify.FindSignature, verify.FindHeadLost},
		"the relay changes one bit of a signed record and mends the checksum", edit(alterRecord),
	},
	{
		"insertion", "ALTERED", controller.Rejected,
		[]string{verify.FindSignature, verify.FindHeadLost, verify.FindRecord},
		"the relay inserts a record", edit(insertRecord),
	},
	{
		"deletion", "ALTERED", controller.Rejected,
		[]string{verify.FindSignature, verify.FindHeadLost, verify.FindRecord},
		"the relay deletes a record and shortens the seal's length to fit", edit(deleteRecord),
	},
	{
		"reordering", "ALTERED", controller.Rejected,
		[]string{verify.FindSignature, verify.FindHeadLost, verify.FindRecord},
		"the relay swaps two records", edit(swapRecords),
	},
	{
		"truncation", "INCOMPLETE", controller.NeedFrom,
		[]string{verify.FindMissing},
		"the relay cuts the last signed record", edit(cutRecord),
	},
	{
		"bundle-cut", "MALFORMED", controller.Rejected,
		[]string{verify.FindBundle},
		"the relay cuts the bundle itself", cutBundle,
	},
	{
		"seal-removed", "INCOMPLETE", controller.NeedFrom,
		[]string{verify.FindNoSeal},
		"the relay takes the seal away", edit(removeSeal),
	},
	{
		"seal-of-another-length", "ALTERED", controller.Rejected,
		[]string{verify.FindOtherBytes, verify.FindSignature},
		"the relay relabels the seal to cover one record less", edit(shortenSeal),
	},
	{
		"seal-of-another-segment", "MALFORMED", controller.Rejected,
		[]string{verify.FindHint},
		"the relay relabels the seal as that of another segment", edit(renumberSeal),
	},
	{
		"tail-forged", "INTACT_WITH_TAIL", controller.Applied,
		[]string{verify.FindTailSpecific},
		"the relay appends a forged specific record: it stays an unsigned tail", edit(forgeTail),
	},
	{
		"replay", "INTACT", controller.Duplicate, nil,
		"the relay sends an old bundle again: a duplicate, no alarm", replay,
	},
	{
		"rollback", "ROLLED_BACK", controller.Duplicate,
		[]string{verify.FindClaimed},
		"the relay presents an old log with its old, genuine seal as the newest", rollback,
	},
	{
		"framing", "INCOMPLETE", controller.NeedFrom,
		[]string{verify.FindOtherBytes},
		"the relay puts genuine seals on other bytes, to make the meter look forked", frame,
	},
	{
		"swapped-meter", "WRONG_METER", controller.Rejected,
		[]string{verify.FindMeter},
		"the relay passes another meter's evidence", swapMeter,
	},
	{
		"cloned-identity", "WRONG_KEY", controller.Rejected,
		[]string{verify.FindKey},
		"another device with the same meter id and a key of its own", cloneIdentity,
	},
	{
		"segment-withheld", "GAP", controller.Applied,
		[]string{verify.FindSegmentMissing},
		"the relay withholds a segment in between", withholdSegment,
	},
	{
		"silence", "STALE", controller.Duplicate,
		[]string{verify.FindHeadOld},
		"the relay withholds everything new for two days", silence,
	},
	{
		"revoked-key", "KEY_REVOKED", controller.Rejected,
		[]string{verify.FindKeyRange},
		"the key was revoked, and seals on", revokedKey,
	},
	{
		"key-swapped", "WRONG_KEY", controller.Rejected,
		[]string{verify.FindKeyChange, verify.FindKey},
		"the meter changes to a key that the registry does not know", swapKey,
	},
	{
		"policy-shrunk", "POLICY_MISMATCH", controller.Rejected,
		[]string{verify.FindPolicy},
		"the meter is told to call almost nothing specific", shrinkPolicy,
	},
	{
		"flash-edited", "GAP", controller.Applied,
		[]string{verify.FindDamaged, verify.FindSegmentPartial},
		"the log is edited while the meter is off: it refuses to seal it, and says so", editFlash,
	},
	{
		"flash-restored", "GAP", controller.Applied,
		[]string{verify.FindDamaged, verify.FindSealRemoved},
		"the log is put back to an older image: the secure element has signed more, so the meter refuses to go on with it", restoreFlash,
	},
	{
		"all-restored", "FORKED", controller.Fork,
		[]string{verify.FindForkCounter},
		"log and secure element are both put back to an older image, and go on", restoreAll,
	},
	{
		"module-hung", "INTACT", controller.Applied,
		[]string{verify.FindModuleFailed, verify.FindModuleRestored},
		"the secure element hangs during an event: the seal comes late, nothing is lost", hangModule,
	},
	{
		"module-killed", "INTACT", controller.Applied,
		[]string{verify.FindModuleFailed, verify.FindModuleRestored},
		"the secure element's process is killed and is slow to come back: the seal comes late, nothing is lost", killModule,
	},
	{
		"clock-set-back", "INTACT", controller.Applied,
		[]string{verify.FindClockSet},
		"the meter's clock is set back an hour: the log says so, and the order stays", setClockBack,
	},
}

// errNoEffect says that an attack did not happen: whatever the verdict is, it
// would show nothing.
var errNoEffect = errors.New("the attack had no effect")

// judge returns what an answer lacks of the one that the attack must get.
func (a *attack) judge(got controller.Answer) (lacks []string) {
	if got.Verdict != a.want {
		lacks = append(lacks, "verdict "+a.want)
	}
	if got.Outcome != a.outcome {
		lacks = append(lacks, "outcome "+string(a.outcome))
	}
	for _, code := range a.finds {
		if !finds(got, code) {
			lacks = append(lacks, "finding "+code)
		}
	}
	if len(a.finds) == 0 && len(got.Findings) > 0 {
		lacks = append(lacks, "a report without findings")
	}
	return lacks
}

func finds(a controller.Answer, code string) bool {
	return slices.ContainsFunc(a.Findings, func(f controller.Finding) bool { return f.Code == code })
}

// proving is where the attacks are played: the demo's meter has been read
// honestly twice.
type proving struct {
	*demo
	early, late *eventlog.Bundle
}

// prepare reads the demo's meter, lets things happen, and reads it again.
func (r *proving) prepare(ctx context.Context) error {
	r.hushed.Store(true)
	var err error
	if r.early, err = r.read(ctx, r.meter); err != nil {
		return err
	}
	for _, e := range []eventlog.Event{{Class: eventlog.ClassFraud, Code: 41}, {Class: eventlog.ClassPowerQuality, Code: 78}, {Class: eventlog.ClassFraud, Code: 44}} {
		if err := r.meter.event(ctx, e); err != nil {
			return err
		}
	}
	if r.late, err = r.read(ctx, r.meter); err != nil {
		return err
	}
	if early, late := r.early.Parts[0].Log, r.late.Parts[0].Log; len(late) <= len(early) || !bytes.HasPrefix(late, early) {
		return errors.New("the log of the meter did not grow")
	}
	return nil
}

// read collects everything a meter has.
func (r *proving) read(ctx context.Context, m *labMeter) (*eventlog.Bundle, error) {
	got, err := r.courier.collect(ctx, m, controller.Head{})
	if err != nil {
		return nil, err
	}
	return got.Bundle, nil
}

// play runs one attack against an MDMS of its own and returns what that says.
func (r *proving) play(ctx context.Context, number int, a attack) (answer controller.Answer, err error) {
	s := &stage{proving: r, dir: filepath.Join(r.dir, "attacks", fmt.Sprintf("%02d-%s", number+1, a.name))}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return answer, err
	}
	if s.mdms, err = newLabMDMS(ctx, s.dir, r.log); err != nil {
		return answer, err
	}
	defer func() { err = errors.Join(err, s.mdms.close()) }()
	if err := s.mdms.enrol(ctx, r.meter.id, r.meter.key()); err != nil {
		return answer, err
	}
	answer, err = a.run(ctx, s)
	for _, m := range slices.Backward(s.meters) {
		err = errors.Join(err, m.close())
	}
	return answer, err
}

// reason tells the findings of an answer in one line.
func reason(a controller.Answer) string {
	parts := []string{string(a.Outcome)}
	for _, f := range a.Findings {
		parts = append(parts, f.Code+": "+f.Detail)
	}
	return strings.Join(parts, "; ")
}

// stage is one attack's own MDMS, and meters if it wants some.
type stage struct {
	*proving
	dir    string
	mdms   *labMDMS
	meters []*labMeter
}

// otherMeter makes a further meter and starts it. The MDMS knows its key if
// enrolled.
func (s *stage) otherMeter(ctx context.Context, id string, enrolled bool, change func(*labMeter)) (*labMeter, error) {
	m, err := newLabMeter(filepath.Join(s.dir, fmt.Sprintf("meter%d", len(s.meters)+1)), id, s.log)
	if err != nil {
		return nil, err
	}
	s.meters = append(s.meters, m)
	if change != nil {
		change(m)
	}
	if err := m.on(ctx); err != nil {
		return nil, err
	}
	if enrolled {
		err = s.mdms.enrol(ctx, m.id, m.key())
	}
	return m, err
}

// ownMeter is an enrolled meter that had an event and whose evidence the MDMS
// found intact.
func (s *stage) ownMeter(ctx context.Context) (*labMeter, error) {
	m, err := s.otherMeter(ctx, "FFFFFF-MS0000000003", true, nil)
	if err != nil {
		return nil, err
	}
	return m, s.happen(ctx, m, coverRemoved)
}

// happen makes an event happen and has the MDMS find the evidence intact.
func (s *stage) happen(ctx context.Context, m *labMeter, e eventlog.Event) error {
	if err := m.event(ctx, e); err != nil {
		return err
	}
	u, err := s.read(ctx, m)
	if err != nil {
		return err
	}
	return s.mdms.baseline(ctx, u)
}

// verdict collects a meter's evidence honestly and posts it.
func (s *stage) verdict(ctx context.Context, m *labMeter) (controller.Answer, error) {
	u, err := s.read(ctx, m)
	if err != nil {
		return controller.Answer{}, err
	}
	return s.mdms.post(ctx, u)
}

// The events of the attacks' meters.
var (
	coverRemoved = eventlog.Event{Class: eventlog.ClassFraud, Code: 44}
	authFailed   = eventlog.Event{Class: eventlog.ClassFraud, Code: 46}
)

// edit is an attack of the relay on the later bundle; the MDMS knows the
// earlier one.
func edit(change func(*eventlog.Part) error) func(context.Context, *stage) (controller.Answer, error) {
	return func(ctx context.Context, s *stage) (controller.Answer, error) {
		if err := s.mdms.baseline(ctx, s.early); err != nil {
			return controller.Answer{}, err
		}
		u := cloneBundle(s.late)
		p := &u.Parts[0]
		if err := change(p); err != nil {
			return controller.Answer{}, err
		}
		if was := s.late.Parts[0]; bytes.Equal(p.Log, was.Log) && bytes.Equal(p.Seal, was.Seal) {
			return controller.Answer{}, errNoEffect
		}
		return s.mdms.post(ctx, u)
	}
}

// victim is the record that the relay is after: the first event of all.
const victim = 2

func alterRecord(p *eventlog.Part) error {
	all := records(p.Log)
	r, err := rewrite(all[victim], func(r *eventlog.Record) { r.Millis ^= 1 })
	all[victim] = r
	p.Log = slices.Concat(all...)
	return err
}

func insertRecord(p *eventlog.Part) error {
	all := records(p.Log)
	p.Log = slices.Concat(slices.Insert(all, victim, all[victim])...)
	return nil
}

func deleteRecord(p *eventlog.Part) (err error) {
	all := records(p.Log)
	gone := len(all[victim])
	p.Log = slices.Concat(slices.Delete(all, victim, victim+1)...)
	p.Seal, err = relabel(p.Seal, func(s *eventlog.Seal) { s.SignedLength -= uint64(gone) })
	return err
}

func swapRecords(p *eventlog.Part) error {
	all := records(p.Log)
	all[victim], all[victim+1] = all[victim+1], all[victim]
	p.Log = slices.Concat(all...)
	return nil
}

func cutRecord(p *eventlog.Part) error {
	all := records(p.Log)
	p.Log = slices.Concat(all[:len(all)-1]...)
	return nil
}

func removeSeal(p *eventlog.Part) error {
	p.Seal = nil
	return nil
}

func shortenSeal(p *eventlog.Part) (err error) {
	p.Seal, err = relabel(p.Seal, func(s *eventlog.Seal) { s.SignedLength -= eventlog.SlotSize })
	return err
}

func renumberSeal(p *eventlog.Part) (err error) {
	p.Seal, err = relabel(p.Seal, func(s *eventlog.Seal) { s.Segment++ })
	return err
}

func forgeTail(p *eventlog.Part) error {
	all := records(p.Log)
	r, err := rewrite(all[victim], func(r *eventlog.Record) { r.Seq += uint32(len(all) - victim) })
	p.Log = append(p.Log, r...)
	return err
}

func cutBundle(ctx context.Context, s *stage) (controller.Answer, error) {
	if err := s.mdms.baseline(ctx, s.early); err != nil {
		return controller.Answer{}, err
	}
	b, err := s.late.AppendBinary(nil)
	if err != nil {
		return controller.Answer{}, err
	}
	return s.mdms.client.Post(ctx, b[:len(b)-20])
}

func replay(ctx context.Context, s *stage) (controller.Answer, error) {
	if err := s.mdms.baseline(ctx, s.late); err != nil {
		return controller.Answer{}, err
	}
	return s.mdms.post(ctx, s.early)
}

func rollback(ctx context.Context, s *stage) (controller.Answer, error) {
	if err := s.mdms.baseline(ctx, s.late); err != nil {
		return controller.Answer{}, err
	}
	s.mdms.later.Store(int64(time.Hour))
	u := cloneBundle(s.early)
	u.Newest, u.Collected = true, time.Now().Add(time.Hour).UnixMilli()
	return s.mdms.post(ctx, u)
}

// frame sends only what is new, changed, under the genuine newest seal.
func frame(ctx context.Context, s *stage) (controller.Answer, error) {
	if err := s.mdms.baseline(ctx, s.early); err != nil {
		return controller.Answer{}, err
	}
	u := cloneBundle(s.late)
	p := &u.Parts[0]
	var seal eventlog.Seal
	if err := seal.UnmarshalBinary(s.early.Parts[0].Seal); err != nil {
		return controller.Answer{}, err
	}
	p.Offset, p.Log = seal.SignedLength, p.Log[seal.SignedLength:]
	all := records(p.Log)
	r, err := rewrite(all[0], func(r *eventlog.Record) { r.Millis++ })
	if err != nil {
		return controller.Answer{}, err
	}
	all[0] = r
	if p.Log = slices.Concat(all...); bytes.Equal(p.Log, s.late.Parts[0].Log[p.Offset:]) {
		return controller.Answer{}, errNoEffect
	}
	return s.mdms.post(ctx, u)
}

func swapMeter(ctx context.Context, s *stage) (controller.Answer, error) {
	if err := s.mdms.baseline(ctx, s.early); err != nil {
		return controller.Answer{}, err
	}
	other, err := s.otherMeter(ctx, "FFFFFF-MS0000000002", true, nil)
	if err != nil {
		return controller.Answer{}, err
	}
	u, err := s.read(ctx, other)
	if err != nil {
		return controller.Answer{}, err
	}
	u.Meter = s.meter.id
	return s.mdms.post(ctx, u)
}

func cloneIdentity(ctx context.Context, s *stage) (controller.Answer, error) {
	if err := s.mdms.baseline(ctx, s.early); err != nil {
		return controller.Answer{}, err
	}
	clone, err := s.otherMeter(ctx, demoMeter, false, nil)
	if err != nil {
		return controller.Answer{}, err
	}
	return s.verdict(ctx, clone)
}

func withholdSegment(ctx context.Context, s *stage) (controller.Answer, error) {
	m, err := s.otherMeter(ctx, "FFFFFF-MS0000000003", true, func(m *labMeter) { m.cfg.SegmentSize, m.cfg.StoreSize = 4096, 1<<20 })
	if err != nil {
		return controller.Answer{}, err
	}
	if err := s.happen(ctx, m, coverRemoved); err != nil {
		return controller.Answer{}, err
	}
	for m.meter.Status().Segment < 3 {
		if err := m.event(ctx, authFailed); err != nil {
			return controller.Answer{}, err
		}
	}
	u, err := s.read(ctx, m)
	if err != nil {
		return controller.Answer{}, err
	}
	all := len(u.Parts)
	u.Parts = slices.DeleteFunc(u.Parts, func(p eventlog.Part) bool { return p.Segment == 2 })
	if len(u.Parts) != all-1 {
		return controller.Answer{}, errNoEffect
	}
	return s.mdms.post(ctx, u)
}

func silence(ctx context.Context, s *stage) (controller.Answer, error) {
	if err := s.mdms.baseline(ctx, s.early); err != nil {
		return controller.Answer{}, err
	}
	s.mdms.later.Store(int64(48 * time.Hour))
	return s.mdms.post(ctx, s.early)
}

func revokedKey(ctx context.Context, s *stage) (controller.Answer, error) {
	if err := s.mdms.baseline(ctx, s.early); err != nil {
		return controller.Answer{}, err
	}
	key, err := eventlog.KeyIDOf(s.meter.key())
	if err != nil {
		return controller.Answer{}, err
	}
	if err := s.mdms.Revoke(ctx, s.meter.id, key); err != nil {
		return controller.Answer{}, err
	}
	return s.mdms.post(ctx, s.late)
}

func swapKey(ctx context.Context, s *stage) (controller.Answer, error) {
	m, err := s.ownMeter(ctx)
	if err != nil {
		return controller.Answer{}, err
	}
	old := m.module
	defer old.Close()
	dir := m.dir
	m.dir += "-newkey"
	fresh, err := m.openModule(ctx)
	m.dir = dir
	if err != nil {
		return controller.Answer{}, err
	}
	if err := m.meter.ChangeKey(ctx, fresh); err != nil {
		return controller.Answer{}, errors.Join(err, fresh.Close())
	}
	m.module = fresh
	if err := m.event(ctx, authFailed); err != nil {
		return controller.Answer{}, err
	}
	return s.verdict(ctx, m)
}

func shrinkPolicy(ctx context.Context, s *stage) (controller.Answer, error) {
	m, err := s.ownMeter(ctx)
	if err != nil {
		return controller.Answer{}, err
	}
	clockOnly := eventlog.Event{Class: eventlog.ClassStandard, Code: 4}
	if err := m.meter.ChangePolicy(ctx, eventlog.NewPolicy(2, clockOnly)); err != nil {
		return controller.Answer{}, err
	}
	if err := m.event(ctx, clockOnly); err != nil {
		return controller.Answer{}, err
	}
	return s.verdict(ctx, m)
}

func editFlash(ctx context.Context, s *stage) (controller.Answer, error) {
	m, err := s.ownMeter(ctx)
	if err != nil {
		return controller.Answer{}, err
	}
	if err := m.off(); err != nil {
		return controller.Answer{}, err
	}
	path := m.segmentFile(1)
	log, err := os.ReadFile(path)
	if err != nil {
		return controller.Answer{}, err
	}
	p := eventlog.Part{Log: log}
	if err := alterRecord(&p); err != nil {
		return controller.Answer{}, err
	}
	if bytes.Equal(p.Log, log) {
		return controller.Answer{}, errNoEffect
	}
	if err := os.WriteFile(path, p.Log, 0o600); err != nil {
		return controller.Answer{}, err
	}
	if err := m.on(ctx); err != nil {
		return controller.Answer{}, err
	}
	if err := m.event(ctx, authFailed); err != nil {
		return controller.Answer{}, err
	}
	return s.verdictFrom(ctx, m, 2)
}

// verdictFrom collects and posts what a meter has from a segment on.
func (s *stage) verdictFrom(ctx context.Context, m *labMeter, segment uint32) (controller.Answer, error) {
	u, err := s.read(ctx, m)
	if err != nil {
		return controller.Answer{}, err
	}
	u.Parts = slices.DeleteFunc(u.Parts, func(p eventlog.Part) bool { return p.Segment < segment })
	return s.mdms.post(ctx, u)
}

// older puts an older image back, and fails if the log is none afterwards.
func older(m *labMeter, putBack func() error) error {
	was, err := os.ReadFile(m.segmentFile(1))
	if err != nil {
		return err
	}
	if err := putBack(); err != nil {
		return err
	}
	is, err := os.ReadFile(m.segmentFile(1))
	if err == nil && (len(is) >= len(was) || !bytes.HasPrefix(was, is)) {
		err = errNoEffect
	}
	return err
}

func restoreFlash(ctx context.Context, s *stage) (controller.Answer, error) {
	m, err := s.ownMeter(ctx)
	if err != nil {
		return controller.Answer{}, err
	}
	image := m.dir + "-image"
	if err := errors.Join(m.off(), copyState(m.dir, image), m.on(ctx)); err != nil {
		return controller.Answer{}, err
	}
	if err := s.happen(ctx, m, authFailed); err != nil {
		return controller.Answer{}, err
	}
	if err := errors.Join(m.off(), older(m, func() error { return copyState(image, m.dir) }), m.on(ctx)); err != nil {
		return controller.Answer{}, err
	}
	if err := m.event(ctx, coverRemoved); err != nil {
		return controller.Answer{}, err
	}
	return s.verdictFrom(ctx, m, 2)
}

// restoreAll puts back the module's files too: its counter is a file, unlike a
// chip's.
func restoreAll(ctx context.Context, s *stage) (controller.Answer, error) {
	m, err := s.ownMeter(ctx)
	if err != nil {
		return controller.Answer{}, err
	}
	image := m.dir + "-image"
	if err := errors.Join(m.close(), copyPrivate(m.dir, image), m.on(ctx)); err != nil {
		return controller.Answer{}, err
	}
	if err := s.happen(ctx, m, authFailed); err != nil {
		return controller.Answer{}, err
	}
	putBack := func() error { return errors.Join(os.RemoveAll(m.dir), copyPrivate(image, m.dir)) }
	if err := errors.Join(m.close(), older(m, putBack), m.on(ctx)); err != nil {
		return controller.Answer{}, err
	}
	if err := m.event(ctx, coverRemoved); err != nil {
		return controller.Answer{}, err
	}
	return s.verdict(ctx, m)
}

// meterToDisturb is an enrolled meter, found intact, that soon asks a module
// that failed whether it is back. pid is the process of that module.
func (s *stage) meterToDisturb(ctx context.Context) (m *labMeter, pid int, err error) {
	m, err = s.otherMeter(ctx, "FFFFFF-MS0000000003", true, func(m *labMeter) { m.cfg.ProbeInterval = 200 * time.Millisecond })
	if err != nil {
		return nil, 0, err
	}
	if err := s.happen(ctx, m, coverRemoved); err != nil {
		return nil, 0, err
	}
	info, err := m.module.Info(ctx)
	return m, info.PID, err
}

// sealedLate waits until the module is up again and a record that had to wait
// is sealed, and has the MDMS judge the log.
func (s *stage) sealedLate(ctx context.Context, m *labMeter, rec device.Recorded) (controller.Answer, error) {
	if rec.Sealed {
		return controller.Answer{}, errNoEffect
	}
	covered := func() bool {
		st := m.meter.Status()
		return st.Health == eventlog.HealthUp && st.SignedLength >= rec.Length
	}
	if err := until(ctx, covered); err != nil {
		return controller.Answer{}, fmt.Errorf("the seal never came: %w", err)
	}
	return s.verdict(ctx, m)
}

func hangModule(ctx context.Context, s *stage) (controller.Answer, error) {
	m, pid, err := s.meterToDisturb(ctx)
	if err != nil {
		return controller.Answer{}, err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return controller.Answer{}, fmt.Errorf("stop the module: %w", err)
	}
	// A process stops in its own time. What it signs until then is an event as
	// any other; the first that it does not sign is the one.
	var rec device.Recorded
	waits := func() bool {
		rec, err = m.meter.Record(ctx, authFailed, nil)
		return err != nil || !rec.Sealed
	}
	if err := errors.Join(until(ctx, waits), err); err != nil {
		return controller.Answer{}, err
	}
	return s.sealedLate(ctx, m, rec)
}

// killModule keeps the process from coming back until the meter has noticed: it
// would be back within the time that a signature may take.
func killModule(ctx context.Context, s *stage) (controller.Answer, error) {
	m, pid, err := s.meterToDisturb(ctx)
	if err != nil {
		return controller.Answer{}, err
	}
	away := make(chan struct{})
	comeBack := sync.OnceFunc(func() { close(away) })
	defer comeBack()
	m.away = away
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return controller.Answer{}, fmt.Errorf("kill the module: %w", err)
	}
	gone := func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
	if err := until(ctx, gone); err != nil {
		return controller.Answer{}, fmt.Errorf("the module does not die: %w", err)
	}
	rec, err := m.meter.Record(ctx, authFailed, nil)
	if err != nil {
		return controller.Answer{}, err
	}
	noticed := func() bool { return m.meter.Status().Health == eventlog.HealthDown }
	if err := until(ctx, noticed); err != nil {
		return controller.Answer{}, fmt.Errorf("the meter does not notice that its module is dead: %w", err)
	}
	comeBack()
	return s.sealedLate(ctx, m, rec)
}

func setClockBack(ctx context.Context, s *stage) (controller.Answer, error) {
	m, err := s.ownMeter(ctx)
	if err != nil {
		return controller.Answer{}, err
	}
	if err := m.meter.SetClock(ctx, m.meter.Clock().Add(-time.Hour), eventlog.ClockLocal); err != nil {
		return controller.Answer{}, err
	}
	if err := m.event(ctx, authFailed); err != nil {
		return controller.Answer{}, err
	}
	return s.verdict(ctx, m)
}
