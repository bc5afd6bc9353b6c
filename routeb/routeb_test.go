package routeb_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

// The driver joins and reads every model with every setting.
func TestEveryModel(t *testing.T) {
	for _, model := range dongle.Models() {
		for _, data := range []string{"binary", "hex"} {
			for _, echo := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/echo=%v", model, data, echo), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b := newBench(t, dongle.Config{Model: model, Data: data, EchoOff: !echo})
						cfg := b.config(t)
						cfg.KeepEcho = echo
						c, err := routeb.Dial(t.Context(), cfg)
						if err != nil {
							t.Fatal(err)
						}
						for n := range 5 {
							attempts, err := request(t.Context(), c, n)
							if err != nil {
								t.Fatal(err)
							}
							if attempts != 1 {
								t.Errorf("request %d took %d attempts", n, attempts)
							}
						}
						if err := c.Close(); err != nil {
							t.Error(err)
						}
						if m := b.Joined(); m != nil {
							t.Error("the session was not ended")
						}
						if n := b.FlashWrites(); n != 0 {
							t.Errorf("%d writes to flash memory", n)
						}
					})
				})
			}
		}
	}
}

func TestDialReturnsWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{Faults: dongle.Faults{Rules: map[dongle.Fault]dongle.Rule{dongle.NoBeacon: {Chance: 1}}}})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		_, err := routeb.Dial(ctx, b.config(t))
		if err == nil {
			t.Fatal("joined a meter that nobody hears")
		}
	})
}
