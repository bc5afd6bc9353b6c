package meter

import (
	"context"
	"time"

	"github.com/meterseal/meterseal/echonet"
)

// checkEvery is how often Run looks at clock and faults.
const checkEvery = time.Second

// Run notifies what a meter has to: the half-hour readings (EA, EB) after each
// :00 and :30 of the meter's clock, well within the 5 minutes that AIF 1.01,
// 3.2.1 allows, and the fault status (88) when it changes. notify is a
// Node.Notify; what it could not send is not tried again, as a controller asks
// for what it missed. Run returns when ctx ends.
//
// It looks at the clock every second, so that a clock that is set, or runs fast,
// is followed.
func (m *Meter) Run(ctx context.Context, notify func(eoj echonet.EOJ, epcs ...byte) error) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	half := lastMultiple(m.cfg.Source.Clock(), 30)
	fault := m.cfg.Source.Fault() != 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := lastMultiple(m.cfg.Source.Clock(), 30); !now.Equal(half) {
			half = now
			epcs := []byte{EPCHalfNormal}
			if m.cfg.Reverse {
				epcs = append(epcs, EPCHalfReverse)
			}
			_ = notify(m.EOJ(), epcs...)
		}
		if now := m.cfg.Source.Fault() != 0; now != fault {
			fault = now
			_ = notify(m.EOJ(), EPCFault)
		}
	}
}
