package dongle_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meterseal/meterseal/internal/dongletest"
	"github.com/meterseal/meterseal/routeb/dongle"
)

// events returns the numbers of the events that were said, without those of datagrams sent.
func events(said string) (numbers []string) {
	for line := range strings.Lines(said) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "EVENT" && f[1] != "21" {
			numbers = append(numbers, f[1])
		}
	}
	return numbers
}

// joined is what makes a single-stack module join, its neighbour being known.
const joined = join + "SKADDNBR " + meterIP + " 00005EEF100000A1\r\nSKJOIN " + meterIP + "\r\n"

// A host that has switched off the renewal of sessions renews by itself, or loses the session.
func TestAutomaticRenewalIsARegister(t *testing.T) {
	for setting, want := range map[string][]string{
		"":                            {"25", "25", "25", "25"},
		"SKSREG S17 0\r\n":            {"25", "29"},
		"SKSREG S17 1\r\n":            {"25", "25", "25", "25"},
		"SKSREG S17 0\r\nSKRESET\r\n": {"25", "25", "25", "25"},
	} {
		meter := &dongle.Meter{Credentials: credentials, Lifetime: 100 * time.Second}
		got := talk(t, dongle.Config{EchoOff: true, Meters: []*dongle.Meter{meter}}, setting+joined)
		if d := cmp.Diff(want, events(got)); d != "" {
			t.Errorf("%q: events (-want +got):\n%s", setting, d)
		}
	}
}

// Register SFA switches the limit of the transmit time. The account goes on.
func TestTransmitLimitIsARegister(t *testing.T) {
	send := "SKSENDTO 1 FF02:0000:0000:0000:0000:0000:0000:0001 0E1A 0 0001 x"
	cfg := dongle.Config{EchoOff: true, TransmitLimit: 2 * time.Millisecond}
	for name, tt := range map[string]struct {
		say  string
		want []string
	}{
		"on from the start":  {send, []string{"32"}},
		"off":                {"SKSREG SFA 0\r\n" + send, nil},
		"off, then on":       {"SKSREG SFA 0\r\n" + send + "SKSREG SFA 1\r\n", []string{"32"}},
		"on, then off again": {send + "SKSREG SFA 0\r\n", []string{"32", "33"}},
	} {
		got := talk(t, cfg, tt.say+"SKSREG SFD\r\n")
		if d := cmp.Diff(tt.want, events(got)); d != "" {
			t.Errorf("%s: events (-want +got):\n%s", name, d)
		}
		if strings.Contains(got, "ESREG 0000000000000000") {
			t.Errorf("%s: nothing was added to the account: %q", name, got)
		}
	}
	fault := dongle.Config{EchoOff: true, Faults: dongle.Faults{Rules: map[dongle.Fault]dongle.Rule{dongle.Limit: {Chance: 1}}}}
	if got := events(talk(t, fault, "SKSREG SFA 0\r\n"+joined, "SKSENDTO 1 "+meterIP+" 0E1A 1 0001 x")); len(got) != 1 {
		t.Errorf("the fault of that name, while off: events %v, want 25 only", got)
	}
}

// bench is a dongle whose host can cut its power.
type bench struct {
	t     *testing.T
	cable dongle.Cable
	d     *dongle.Dongle
	host  io.ReadWriteCloser
	baud  atomic.Int64 // that the host has set; 0 = the line has none

	mu    sync.Mutex // guards what follows
	heard bytes.Buffer
}

type ratedLine struct {
	io.ReadWriteCloser
	baud *atomic.Int64
}

func (l ratedLine) Baud() int { return int(l.baud.Load()) }

// newBench is called in a bubble.
func newBench(t *testing.T, cfg dongle.Config) *bench {
	t.Helper()
	b := &bench{}
	b.start(t, cfg)
	return b
}

func (b *bench) start(t *testing.T, cfg dongle.Config) {
	t.Helper()
	d, err := dongle.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.t, b.d = t, d
	dongletest.Run(t, d, func() (io.ReadWriteCloser, error) {
		line, err := b.cable.Plug()
		if b.baud.Load() != 0 {
			line = ratedLine{line, &b.baud}
		}
		return line, err
	})
	b.open()
}

func (b *bench) open() {
	b.t.Helper()
	synctest.Wait()
	var err error
	if b.host, err = b.cable.Open("", 0); err != nil {
		b.t.Fatal(err)
	}
	host := b.host
	b.t.Cleanup(func() { host.Close() })
	go b.listen(host)
}

// powerCycle unplugs the dongle and plugs it in again.
func (b *bench) powerCycle() {
	b.t.Helper()
	b.d.Inject(dongle.Unplug)
	time.Sleep(10 * time.Second) // of the bubble's clock
	b.open()
}

// ask writes, and returns what comes within a second.
func (b *bench) ask(say string) string {
	b.t.Helper()
	if _, err := io.WriteString(b.host, say); err != nil {
		b.t.Fatal(err)
	}
	time.Sleep(time.Second)
	synctest.Wait()
	return b.said()
}

// said returns what came since it was called last.
func (b *bench) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.heard.Reset()
	return b.heard.String()
}

func (b *bench) listen(host io.Reader) {
	chunk := make([]byte, 4096)
	for {
		n, err := host.Read(chunk)
		b.mu.Lock()
		b.heard.Write(chunk[:n])
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// What is saved is there again at power-up if it says so: the echo that an earlier host has switched off for good.
func TestSavedRegistersAtPowerUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{})
		b.ask("SKSREG SFE 0\r\nSKSREG SFF 0\r\nSKSREG S3 1234\r\nSKSAVE\r\n")
		b.powerCycle()
		if got, want := b.ask("SKSREG S3\r\n"), "SKSREG S3\r\nESREG FFFF\r\nOK\r\n"; got != want {
			t.Errorf("saved without SFF: said %q, want %q", got, want)
		}
		b.ask("SKSREG SFE 0\r\nSKSREG SFF 1\r\nSKSREG S3 1234\r\nSKSAVE\r\nSKSREG S3 5678\r\n")
		b.powerCycle()
		if got, want := b.ask("SKSREG S3\r\n"), "ESREG 1234\r\nOK\r\n"; got != want {
			t.Errorf("saved with SFF: said %q, want %q", got, want)
		}
		if got, want := b.ask("SKRESET\r\n")+b.ask("SKSREG S3\r\n"), "OK\r\nSKSREG S3\r\nESREG FFFF\r\nOK\r\n"; got != want {
			t.Errorf("after a reset: said %q, want %q", got, want)
		}
		b.ask("SKERASE\r\n")
		b.powerCycle()
		if got, want := b.ask("SKSREG S3\r\n"), "SKSREG S3\r\nESREG FFFF\r\nOK\r\n"; got != want {
			t.Errorf("after SKERASE: said %q, want %q", got, want)
		}
	})
}

// A single-stack module gives a handle another port when that is saved and loaded at power-up, a dual-stack one at once.
func TestUDPPorts(t *testing.T) {
	const (
		send    = "SKSENDTO 3 FF02:0000:0000:0000:0000:0000:0000:0001 0E1A 0 0001 x"
		refused = "FAIL ER10\r\n"
	)
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{EchoOff: true})
		if got := b.ask("SKUDPPORT 3 0E1A\r\nSKSREG SFF 1\r\nSKSAVE\r\n" + send); !strings.HasSuffix(got, refused) {
			t.Errorf("at once: said %q", got)
		}
		if got := b.ask("SKLOAD\r\n" + send); !strings.HasSuffix(got, refused) {
			t.Errorf("after SKLOAD: said %q", got)
		}
		b.powerCycle()
		if got := b.ask("SKTABLE E\r\n" + send); !strings.HasPrefix(got, "EPORT\r\n3610\r\n716\r\n3610\r\n") || strings.Contains(got, refused) {
			t.Errorf("after a power cycle: said %q", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{Model: dongle.BP35C2, EchoOff: true})
		if got := b.ask("SKUDPPORT 3 0E1A\r\n" + strings.Replace(send, " 0 ", " 0 0 ", 1)); strings.Contains(got, refused) {
			t.Errorf("dual-stack: said %q", got)
		}
	})
}

// What comes to a port that no handle has is not heard of.
func TestClosedPort(t *testing.T) {
	for handle, want := range map[string]bool{"1": false, "2": true} {
		synctest.Test(t, func(t *testing.T) {
			meter := &scriptedMeter{say: make(chan []byte, 1)}
			meter.say <- []byte("0123456789ABCDEF")
			b := newBench(t, dongle.Config{
				Model: dongle.BP35C2, EchoOff: true,
				Meters: []*dongle.Meter{{Credentials: credentials, Conn: meter, Addr: &net.UDPAddr{}}},
			})
			b.ask("SKUDPPORT " + handle + " 0000\r\n" + joined)
			time.Sleep(time.Minute)
			got := b.ask("SKVER\r\n")
			if !strings.Contains(got, "EVENT 25") || strings.Contains(got, "0123456789ABCDEF") != want {
				t.Errorf("handle %s without a port: said %q", handle, got)
			}
		})
	}
}

// WUART sets the rate for good: its answer comes at the old one, all that follows at the new one.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{}
		b.baud.Store(115200)
		b.start(t, dongle.Config{EchoOff: true})
		if got := b.ask("WUART 03\r"); got != "OK\r" {
			t.Fatalf("WUART: said %q", got)
		}
		if got := b.ask("SKVER\r\n"); strings.Contains(got, "EVER") {
			t.Errorf("at the old rate: said %q", got)
		}
		b.baud.Store(9600)
		b.ask("\r\n")
		if got := b.ask("SKVER\r\n"); got != "EVER 1.2.10\r\nOK\r\n" {
			t.Errorf("at the new rate: said %q", got)
		}
		b.powerCycle()
		if got := b.ask("RUART\r"); got != "OK 03\r" {
			t.Errorf("after a power cycle: said %q", got)
		}
		b.baud.Store(115200)
		if got := b.ask("SKVER\r\n"); strings.Contains(got, "EVER") {
			t.Errorf("after a power cycle, at the old rate: said %q", got)
		}
		b.baud.Store(9600)
		// The rate and a gap of 400 us after each byte tell in the time that an answer takes.
		b.ask("\r\nWUART 43\r")
		begin := time.Now()
		io.WriteString(b.host, "SKTABLE E\r\n")
		said := ""
		for ; said == ""; said = b.said() {
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		want := time.Duration(len(said)) * (10*time.Second/9600 + 400*time.Microsecond)
		if took := time.Since(begin); took < want || took > want+10*time.Millisecond {
			t.Errorf("a table of %d bytes took %v, want about %v", len(said), took, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if got := newBench(t, dongle.Config{EchoOff: true, Baud: 2400}).ask("RUART\r"); got != "OK 01\r" {
			t.Errorf("started at 2400 bit/s: said %q", got)
		}
	})
}

// A neighbour that does not answer is given up after no more than the 7 s that were seen, also within a session.
func TestSendToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, dongle.Config{EchoOff: true, Meters: []*dongle.Meter{{Credentials: credentials}}})
		b.ask(joined)
		time.Sleep(time.Minute)
		b.ask("")
		if got, want := b.ask("SKSENDTO 1 "+nobodyIP+" 0E1A 1 0001 x"), "EVENT 21 "+nobodyIP+" 02\r\n"; got != want {
			t.Errorf("at once: said %q, want %q", got, want)
		}
		time.Sleep(6 * time.Second)
		if got, want := b.said(), "EVENT 21 "+nobodyIP+" 01\r\nOK\r\n"; got != want {
			t.Errorf("after 7 s: said %q, want %q", got, want)
		}
	})
}
