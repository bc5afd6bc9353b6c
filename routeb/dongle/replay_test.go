package dongle_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	fixtures "github.com/meterseal/meterseal/fixtures/skstack"
	"github.com/meterseal/meterseal/internal/dongletest"
	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
	"github.com/meterseal/meterseal/routeb/internal/j11"
	"github.com/meterseal/meterseal/routeb/internal/skstack"
)

var credentials = routeb.Credentials{ID: fixtures.ID, Password: fixtures.Password}

// scriptedMeter is the meter's end of a net.PacketConn on which the test says what the meter sends.
type scriptedMeter struct {
	net.PacketConn
	say  chan []byte
	stop chan struct{} // closed at the read deadline
}

func (m *scriptedMeter) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-m.say:
		return copy(b, d), nil, nil
	case <-m.stop:
		return 0, nil, context.DeadlineExceeded
	}
}

func (m *scriptedMeter) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

func (m *scriptedMeter) SetReadDeadline(t time.Time) error {
	if t.IsZero() {
		m.stop = make(chan struct{})
	} else {
		close(m.stop)
	}
	return nil
}

// The dongle says byte for byte what the sample sessions say, the comings and goings on the air being scripted.
func TestDongleRepeatsTheSampleSessions(t *testing.T) {
	events := map[string]dongle.Fault{"EVENT 29": dongle.Lapse, "EVENT 26": dongle.End26, "EVENT 32": dongle.Limit}
	tests := []struct {
		model  dongle.Model
		faults string
		lqi    byte
	}{
		{dongle.BP35A1, "no-beacon=@1,neighbour=@3@4,refuse=@2", 0xE1},
		{dongle.RL7023IPS, "unsent=@2,end-timeout", 0xCA},
		{dongle.BP35C2, "no-beacon=@1", 0xE1},
		{dongle.RL7023DSS, "ok-last=@2", 0xB2},
		{dongle.MBRL702311, "", 0xC4},
		{dongle.BP35C2J11, "start-fails=@1,unsent=@2", 0xA1},
	}
	for _, tt := range tests {
		t.Run(string(tt.model), func(t *testing.T) {
			file := string(tt.model)
			if tt.model == dongle.BP35C2J11 {
				file = "j11"
			}
			session, extras, err := fixtures.Session(file)
			if err != nil {
				t.Fatal(err)
			}
			switch tt.model {
			case dongle.MBRL702311:
				extras = nil // a capture from before the session, which chance alone repeats
			case dongle.BP35C2J11:
				extras = extras[:2] // what follows is said without being asked
			}
			for len(extras) > 0 && !extras[0].Host {
				extras = extras[1:] // variants of a line, not of a session
			}
			faults, err := dongle.ParseFaults(tt.faults)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				meter := &scriptedMeter{say: make(chan []byte, 1)}
				d, err := dongle.New(dongle.Config{
					Model: tt.model, Faults: faults, Downlink: 100 * time.Millisecond,
					Meters: []*dongle.Meter{
						{
							Credentials: routeb.Credentials{ID: strings.Repeat("A", 32), Password: "BBBBBBBBBBBB"},
							MAC:         routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 0xB2}, Channel: 0x2F, PAN: 0x1234, LQI: 0x90,
						},
						{Credentials: credentials, LQI: tt.lqi, Conn: meter, Addr: &net.UDPAddr{}},
					},
				})
				if err != nil {
					t.Fatal(err)
				}
				host := powerUp(t, d)
				for _, step := range append(session, extras...) {
					if step.Host {
						if _, err := host.Write(step.Data); err != nil {
							t.Fatal(err)
						}
						continue
					}
					if len(step.Data) > 8 {
						if f, ok := events[string(step.Data[:8])]; ok {
							d.Inject(f)
						}
					}
					if string(step.Data) == "EVENT C0\r\n" {
						host.Write([]byte("\r\n")) // wakes it
					}
					if said := fromMeter(step.Data); said != nil {
						meter.say <- said
					}
					got := make([]byte, len(step.Data))
					if n, err := io.ReadFull(host, got); err != nil || !bytes.Equal(got, step.Data) {
						t.Fatalf("line %d:\n got %q %v\nwant %q", step.Line, got[:n], err, step.Data)
					}
				}
			})
		})
	}
}

// powerUp runs a dongle in a bubble until the test ends and opens its port. A host that hears nothing for two days of the
// bubble's time has its line cut.
func powerUp(t *testing.T, d *dongle.Dongle) io.ReadWriteCloser {
	t.Helper()
	var cable dongle.Cable
	limit := time.AfterFunc(48*time.Hour, dongletest.Run(t, d, cable.Plug))
	synctest.Wait()
	host, err := cable.Open("", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		limit.Stop()
		host.Close()
	})
	return host
}

// fromMeter returns the data of an ERXUDP line on the port of ECHONET Lite, or of a notification of that kind.
func fromMeter(line []byte) []byte {
	d := j11.Decoder{Unique: j11.FromModule}
	d.Feed(line)
	if f, _, _ := d.Next(); f.Code == j11.Received {
		return f.Data[27:]
	}
	var p skstack.Parser
	p.Feed(line)
	it, _ := p.Next()
	if d, ok := it.(skstack.Datagram); ok && d.DstPort == 3610 {
		return d.Data
	}
	return nil
}
