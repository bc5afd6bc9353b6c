package dongle

import (
	"fmt"
	"strings"
	"time"

	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

func (t *text) scanCommand(a []string) answer {
	mask, ok1 := hexArg(a[1], 8, 0, 0xFFFFFFFF)
	duration, ok2 := hexArg(a[2], 1, 0, 0xE)
	if !ok1 || !ok2 || !oneOf(a[0], "0", "2", "3") || t.dual && !oneOf(a[3], "0", "1") {
		return fail(wrongArgument)
	}
	var list []byte
	for ch := byte(firstChannel); ch <= lastChannel; ch++ {
		if mask>>(ch-firstChannel)&1 == 1 {
			list = append(list, ch)
		}
	}
	dwell := 9600 * time.Microsecond * (1<<duration + 1)
	return answer{then: func() { t.startScan(a[0], list, dwell) }}
}

func (t *text) startScan(mode string, list []byte, dwell time.Duration) {
	if mode == "0" {
		t.later(time.Duration(len(list))*dwell, func() { t.energy(list) })
		return
	}
	pairID := ""
	if mode == "2" {
		if pairID = t.reg["S0A"]; pairID == "" {
			pairID = "none" // without an id no meter answers
		}
	}
	late := t.faults.hits(LateBeacon)
	var after []*Meter
	foreign := t.faults.hits(Foreign)
	t.scan(list, dwell, pairID, func(m *Meter) {
		if late {
			after = append(after, m)
			return
		}
		t.beacon(m, mode == "2")
	}, func(ch byte) {
		if foreign && ch == list[0] {
			t.beacon(&Meter{
				MAC: routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 0xB2}, Channel: ch, PAN: 0x1234, LQI: 0xFF,
				Credentials: routeb.Credentials{ID: strings.Repeat("F", 32)},
			}, mode == "2")
		}
	}, func() {
		t.event(skstack.EventScanDone, t.own(), -1)
		for _, m := range after {
			t.beacon(m, mode == "2")
		}
	})
}

func (t *text) beacon(m *Meter, pairID bool) {
	t.event(skstack.EventBeacon, t.own(), -1)
	lines := []string{
		"EPANDESC",
		fmt.Sprintf("  Channel:%02X", m.Channel),
		"  Channel Page:09",
		fmt.Sprintf("  Pan ID:%04X", m.PAN),
		fmt.Sprintf("  Addr:%s", m.MAC),
		fmt.Sprintf("  LQI:%02X", m.LQI),
	}
	if t.dual {
		lines = append(lines, "  Side:0")
	}
	if pairID {
		lines = append(lines, "  PairID:"+m.Credentials.PairID())
	}
	for _, l := range lines {
		t.line(l)
	}
}

// energy reports an energy-detect scan. The values are those of a quiet street.
func (t *text) energy(list []byte) {
	t.event(0x1F, t.own(), -1)
	t.line("EEDSCAN")
	var pairs []string
	if t.dual {
		pairs = append(pairs, "0")
	}
	for i, ch := range list {
		pairs = append(pairs, fmt.Sprintf("%02X %02X", ch, 2+(1+7*i)%23))
	}
	t.line(strings.Join(pairs, " "))
	if t.extraLines {
		t.line("")
	}
}
