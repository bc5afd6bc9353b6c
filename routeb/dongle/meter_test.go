package dongle_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
)

var otherCredentials = routeb.Credentials{ID: "FFEEDDCCBBAA99887766554433221100", Password: "BA9876543210"}

// Meters in reach are told apart by pairing id, channel, PAN and address; each has a signal, a lifetime and a password of
// its own.
func TestSeveralMeters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{EchoOff: true, Meters: []*dongle.Meter{
			{Credentials: credentials, Lifetime: time.Hour},
			{Credentials: otherCredentials, Channel: 39, LQI: 30, Lifetime: 100 * time.Second},
			{Credentials: otherCredentials, Channel: 41},
		}})
		scan := func(say string) (found []string) {
			b.ask(say)
			time.Sleep(10 * time.Second)
			for line := range strings.Lines(b.said()) {
				if strings.HasPrefix(line, "  ") {
					found = append(found, strings.TrimSpace(line))
				}
			}
			return found
		}
		first := []string{"Channel:3B", "Channel Page:09", "Pan ID:8888", "Addr:00005EEF100000A1", "LQI:E1"}
		second := []string{"Channel:27", "Channel Page:09", "Pan ID:8889", "Addr:00005EEF100001A1", "LQI:1E"}
		third := []string{"Channel:29", "Channel Page:09", "Pan ID:888A", "Addr:00005EEF100002A1", "LQI:E1"}
		if d := cmp.Diff(append(append(second[:5:5], third...), first...), scan("SKSCAN 3 FFFFFFFF 4\r\n")); d != "" {
			t.Errorf("all meters (-want +got):\n%s", d)
		}
		second, third = append(second, "PairID:33221100"), append(third, "PairID:33221100")
		b.ask("SKSETPWD C BA9876543210\r\nSKSETRBID FFEEDDCCBBAA99887766554433221100\r\n")
		if d := cmp.Diff(append(second[:6:6], third...), scan("SKSCAN 2 FFFFFFFF 4\r\n")); d != "" {
			t.Errorf("those of a pairing id (-want +got):\n%s", d)
		}
		b.ask("SKSREG S2 27\r\nSKSREG S3 8889\r\nSKJOIN FE80:0000:0000:0000:0200:5EEF:1000:01A1\r\n")
		time.Sleep(4 * time.Minute)
		if d := cmp.Diff([]string{"25", "25", "25"}, events(b.said())); d != "" {
			t.Errorf("events of a session that lasts 100 s (-want +got):\n%s", d)
		}
		if m := b.d.Joined(); m == nil || m.LQI != 30 {
			t.Errorf("joined %+v, want the meter with link quality 30", m)
		}
	})
}

// two addresses on one connection.
type sharedConn struct {
	scriptedMeter
	from chan net.Addr
}

func (c *sharedConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.say:
		return copy(b, d), <-c.from, nil
	case <-c.stop:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// What another meter sends on a connection that both share is not taken for the meter's.
func TestMetersShareAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &sharedConn{scriptedMeter{say: make(chan []byte, 3)}, make(chan net.Addr, 3)}
		addr := func(last byte) net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, last), Port: 3610} }
		b := newBench(t, dongle.Config{EchoOff: true, Data: "hex", Meters: []*dongle.Meter{
			{Credentials: credentials, Conn: conn, Addr: addr(1)}, {Credentials: otherCredentials, Conn: conn, Addr: addr(2)},
		}})
		for last := range byte(3) {
			conn.say <- []byte(strings.Repeat(string('A'+last), 16))
			conn.from <- addr(last + 1)
		}
		b.ask(joined)
		time.Sleep(time.Minute)
		got := b.said()
		for text, want := range map[string]bool{"41414141": true, "42424242": false, "43434343": true} {
			if strings.Contains(got, text) != want {
				t.Errorf("%s: heard %v, want %v: %q", text, !want, want, got)
			}
		}
	})
}

// A meter that has a session with a dongle of another program refuses this one's, whose MAC address may be the same. It
// lets it in when the other has left, or when the session has ended with nobody there.
func TestLock(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	synctest.Test(t, func(t *testing.T) {
		program := func() *bench {
			return newBench(t, dongle.Config{EchoOff: true, Meters: []*dongle.Meter{{Credentials: credentials, Lifetime: time.Hour, Lock: lock}}})
		}
		say := func(b *bench, say, want string) {
			t.Helper()
			b.ask(say)
			time.Sleep(50 * time.Second)
			if got := events(b.said()); !slices.Equal(got, []string{want}) {
				t.Errorf("%q: events %v, want %s", say, got, want)
			}
		}
		one, two := program(), program()
		say(one, joined, "25")
		say(two, joined, "24")
		say(one, "SKREJOIN\r\n", "25")
		time.Sleep(2 * time.Hour) // renewals
		if d := cmp.Diff([]string{"25", "25"}, events(one.said())); d != "" {
			t.Errorf("renewals within two hours (-want +got):\n%s", d)
		}
		one.ask("SKTERM\r\n")
		say(two, joined, "25")
		say(one, joined, "24")
		two.powerCycle()
		say(one, joined, "24")
		say(two, joined, "25")
		two.powerCycle()
		time.Sleep(time.Hour)
		say(one, joined, "25")
		say(two, joined, "24")
		one.ask("SKTERM\r\n")
	})
}
