package routeb_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/meterseal/meterseal/internal/effort"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

const everything = "drop=0.01,delay=0.01,late=0.005,dup=0.02,unsent=0.02,no21=0.003,only02=0.003,ok-first=0.05," +
	"ok-last=0.02,neighbour=0.02,echo-data=0.05,hang=0.001,freeze=0.0005,forget=0.001,end24=0.001,end26=0.001," +
	"end27=0.001,end28=0.001,end29=0.001,lapse=0.001,limit=0.0005,unplug=0.001,frame=0.002,interleave=0.02,noise=0.02," +
	"cr=0.02,lost-byte=0.0005,split=0.02,no-beacon=0.3,late-beacon=0.2,foreign=0.3,refuse=0.2,silent-join=0.05," +
	"start-fails=0.3,garbage,skver=0.3,end-timeout=0.2,no-renewal=0.3"

// No fault is left out of the soak.
func TestSoakKnowsEveryFault(t *testing.T) {
	rules := parseFaults(t, everything).Rules
	for _, f := range dongle.AllFaults() {
		if _, ok := rules[f]; !ok {
			t.Errorf("%s is not in it", f)
		}
	}
}

// Ten thousand requests while everything fails at random: each is answered with its own answer, and the longest wait for
// one is bounded. A line that it prints gives the figures; the seed repeats them.
func TestSoak(t *testing.T) {
	const requests = 1700
	models := dongle.Models()
	var losses, opens uint64
	for seed := range effort.Times(len(models)) {
		model := models[seed%len(models)]
		synctest.Test(t, func(t *testing.T) {
			faults := parseFaults(t, everything)
			faults.Seed = uint64(seed)
			b := newBench(t, dongle.Config{Model: model, Faults: faults, TransmitLimit: -1})
			cfg := b.config(t)
			cfg.KeepEcho = seed%2 == 0
			start := time.Now()
			c, err := routeb.Dial(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var worst time.Duration
			for n := range requests {
				began := time.Now()
				if _, err := request(t.Context(), c, n); err != nil {
					t.Fatalf("seed %d, request %d: %v", seed, n, err)
				}
				worst = max(worst, time.Since(began))
				time.Sleep(time.Second) // of the bubble's clock
			}
			s := c.Stats()
			t.Logf("seed %d, %s: %d requests in %v, longest wait %v, %d losses, %d resets, %d opens, %d scans, %d damaged",
				seed, model, requests, time.Since(start).Round(time.Second), worst.Round(time.Second), s.Losses, s.Resets, s.Opens, s.Scans, s.Damaged)
			if worst > 15*time.Minute {
				t.Errorf("seed %d: longest wait %v", seed, worst)
			}
			losses += s.Losses
			opens += s.Opens
		})
	}
	if seeds := uint64(effort.Times(len(models))); losses < 5*seeds || opens < 3*seeds {
		t.Errorf("%d losses and %d opens in all: hardly anything failed", losses, opens)
	}
}
