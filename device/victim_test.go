package device_test

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/meterseal/meterseal/device"
	"github.com/meterseal/meterseal/eventlog"
)

// victimDir names, in the environment, the directory of a victim.
const victimDir = "DEVICE_TEST_VICTIM"

// victimConfig is the meter that is killed: small segments, so that it closes
// some of them too.
func victimConfig(dir string) device.Config {
	return device.Config{
		Dir: filepath.Join(dir, "meter"), Meter: meterID,
		Policy: eventlog.DefaultPolicy(), Profile: eventlog.ProfileIDIS,
		SegmentSize: 16 << 10, StoreSize: 1 << 30, FloodBurst: 1 << 20,
		ProbeInterval: 20 * time.Millisecond, NoEventSocket: true,
	}
}

// victim is a meter process that records events and prints the sequence number of
// each one for which Record has returned, until it is killed. Every third
// event is specific.
func victim(dir string) error {
	ctx := context.Background()
	module, err := openSoft(ctx, filepath.Join(dir, "key"))
	if err != nil {
		return err
	}
	c := victimConfig(dir)
	c.Module = module
	m, err := device.Open(ctx, c)
	if err != nil {
		return err
	}
	go m.Run(ctx)
	for i := 0; ; i++ {
		e := powerUp
		if i%3 == 0 {
			e = coverOpened
		}
		rec, err := m.Record(ctx, e, fmt.Appendf(nil, "%d", i))
		if err != nil {
			return err
		}
		if _, err := fmt.Println(rec.Seq, uint8(e.Class), e.Code, rec.Sealed); err != nil {
			return err
		}
	}
}
