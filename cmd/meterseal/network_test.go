package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/meterseal/meterseal/routeb"
)

// The network of a session is there after a restart, in a file of one's own,
// until a join on it fails.
func TestNetworkKeeper(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, networkFile)
	open := func() *networkKeeper {
		t.Helper()
		k, err := openNetwork(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k := open()
	if n := k.network(); n != nil {
		t.Errorf("an empty directory remembers %+v", n)
	}
	found := routeb.Network{Channel: 59, PAN: 0x8888, MAC: routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 0xA1}, LQI: 225}
	pass := func(k *networkKeeper, states ...routeb.State) {
		for _, s := range states {
			k.take(routeb.Status{State: s, Network: found})
		}
	}
	pass(k, routeb.Scanning, routeb.Joining)
	if _, err := os.Stat(path); err == nil {
		t.Error("remembered before the join")
	}
	pass(k, routeb.Joined)
	want := found
	want.LQI = 0
	if n := open().network(); n == nil || *n != want {
		t.Errorf("after a restart %+v, want %+v", n, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v, %v", info, err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	pass(k, routeb.Lost, routeb.Scanning, routeb.Joining)
	found.LQI = 100
	pass(k, routeb.Joined)
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("written anew for another signal strength: %v", err)
	}
	pass(k, routeb.Closed)
	if open().network() == nil {
		t.Error("forgotten at the end of a session")
	}
	pass(k, routeb.Joining, routeb.Closed)
	if open().network() == nil {
		t.Error("forgotten because of an interruption")
	}
	pass(k, routeb.Joining, routeb.Lost)
	if n := open().network(); n != nil {
		t.Errorf("after a join that failed: %+v", n)
	}

	for _, text := range []string{"", "{", `{"channel":1,"pan":1,"mac":"00005EEF100000A1"}`, `{"channel":33,"pan":1,"mac":"00"}`, `{"channel":33}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if n := open().network(); n != nil {
			t.Errorf("%q: %+v", text, n)
		}
	}
}
