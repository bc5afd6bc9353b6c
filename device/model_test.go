package device_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/secureelementtest"
)

// life is a meter with what happens to it.
type life struct {
	*rig
	promised map[uint32]eventlog.Event // by Record
}

func (l *life) record(e eventlog.Event, n int) {
	l.t.Helper()
	for range n {
		l.promised[l.rig.record(e).Seq] = e
	}
}

// happening is one step of a life.
type happening struct {
	name string
	do   func(*life)
}

func happenings() *rapid.Generator[[]happening] {
	fault := rapid.SampledFrom([]secureelementtest.Fault{
		secureelementtest.Dead, secureelementtest.Hung, secureelementtest.Stuck, secureelementtest.Limited,
		secureelementtest.Lost, secureelementtest.Late, secureelementtest.Twice, secureelementtest.Garbled,
	})
	set := rapid.SampledFrom([]eventlog.Policy{eventlog.DefaultPolicy(), eventlog.NewPolicy(0, powerUp), {}})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) happening {
		switch rapid.IntRange(0, 8).Draw(t, "kind") {
		case 0, 1:
			n := rapid.IntRange(1, 12).Draw(t, "n")
			return happening{"specific events", func(l *life) { l.record(coverOpened, n) }}
		case 2:
			n := rapid.IntRange(1, 12).Draw(t, "n")
			return happening{"other events", func(l *life) { l.record(powerUp, n) }}
		case 3:
			next := rapid.SliceOfN(fault, 1, 3).Draw(t, "faults")
			return happening{"passing faults", func(l *life) { l.module.FailNext(next...) }}
		case 4:
			f := fault.Draw(t, "fault")
			return happening{"a lasting fault", func(l *life) { l.module.Fail(f) }}
		case 5:
			return happening{"repair", func(l *life) { l.module.Fail(secureelementtest.None) }}
		case 6:
			d := time.Duration(rapid.IntRange(1, 20_000).Draw(t, "ms")) * time.Millisecond
			return happening{"nothing", func(*life) { time.Sleep(d) }}
		case 7:
			p := set.Draw(t, "set")
			return happening{"restart", func(l *life) {
				l.close()
				l.cfg.Policy = p
				l.start()
			}}
		}
		p := set.Draw(t, "set")
		// It is refused while the module is down, or another change under way.
		return happening{"another set", func(l *life) { l.ChangePolicy(l.t.Context(), p) }}
	}), 1, 25)
}

// TestHonestMeterIsNeverCharged lives random lives: events, faults of the
// module, restarts, changes of the specific set. Whatever happens, no event is
// lost, at most one signature is asked for per specific record, and the log is
// that of an honest meter.
func TestHonestMeterIsNeverCharged(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := happenings().Draw(rt, "life")
		ok := t.Run("life", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { live(t, script) })
		})
		if !ok {
			var names []string
			for _, h := range script {
				names = append(names, h.name)
			}
			rt.Fatalf("a life of %s", strings.Join(names, ", "))
		}
	})
}

func live(t *testing.T, script []happening) {
	l := &life{newRig(t, small, func(c *device.Config) { c.StoreSize = 1 << 30 }).start(), map[uint32]eventlog.Event{}}
	for _, h := range script {
		h.do(l)
	}
	l.module.Fail(secureelementtest.None)
	time.Sleep(time.Minute)
	synctest.Wait()
	l.record(coverOpened, 1)
	l.close()

	list, seal := audit(t, l.cfg.Dir, l.module.PublicKey())
	found := map[uint32]eventlog.Event{}
	for _, e := range list {
		found[e.Seq] = e.Event()
	}
	for seq, e := range l.promised {
		if found[seq] != e {
			t.Errorf("record %d is %v, it was promised to be %v", seq, found[seq], e)
		}
	}
	if n := specifics(list); l.module.Signs() > n || int(seal.Counter) > n {
		t.Errorf("%d signatures asked for, counter %d, %d specific records", l.module.Signs(), seal.Counter, n)
	}
	if last := lastSpecific(list); seal.LastSeq != last {
		t.Errorf("sealed to %d, the last specific record is %d", seal.LastSeq, last)
	}
}

func lastSpecific(list []entry) (seq uint32) {
	for _, e := range list {
		if e.Specific() {
			seq = e.Seq
		}
	}
	return seq
}
