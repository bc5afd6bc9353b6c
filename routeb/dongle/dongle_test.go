package dongle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/meterseal/meterseal/routeb"
	"github.com/meterseal/meterseal/routeb/dongle"
	"github.com/meterseal/meterseal/routeb/internal/j11"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	meterIP = "FE80:0000:0000:0000:0200:5EEF:1000:00A1"
	ownIP   = "FE80:0000:0000:0000:0200:5EEF:1000:0001"

	nobodyIP = "FE80:0000:0000:0000:0200:5EEF:1000:00A2"
)

// talk sends to a fresh dongle and returns all that it says within ten minutes of its time.
func talk(t *testing.T, cfg dongle.Config, say ...string) (said string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if cfg.Meters == nil {
			cfg.Meters = []*dongle.Meter{{Credentials: credentials}}
		}
		d, err := dongle.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		host := powerUp(t, d)
		var heard bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			io.Copy(&heard, host)
		}()
		for _, s := range say {
			if _, err := host.Write([]byte(s)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute / time.Duration(len(say))) // of the bubble's clock
		}
		host.Close()
		<-done
		said = heard.String()
	})
	return said
}

// Strict where modules are strict, tolerant where they are tolerant.
func TestCommands(t *testing.T) {
	tests := []struct {
		name  string
		model dongle.Model
		say   string
		want  string
	}{
		{"unknown command", dongle.BP35A1, "SKNOSUCH\r\n", "FAIL ER04\r\n"},
		{"lower case", dongle.BP35A1, "skver\r\n", "FAIL ER04\r\n"},
		{"an empty line says nothing", dongle.BP35A1, "\r\n\r\n\n", ""},
		{"CR alone ends a line", dongle.BP35A1, "SKVER\r", "EVER 1.2.10\r\nOK\r\n"},
		{"LF alone ends a line", dongle.BP35A1, "SKVER\n", "EVER 1.2.10\r\nOK\r\n"},
		{"a space at the end", dongle.BP35A1, "SKVER \r\n", "EVER 1.2.10\r\nOK\r\n"},
		{"two commands at once are answered in turn", dongle.BP35A1, "SKVER\r\nSKAPPVER\r\n", "EVER 1.2.10\r\nOK\r\nEAPPVER rev26e\r\nOK\r\n"},
		{"too many arguments", dongle.BP35A1, "SKVER 1\r\n", "FAIL ER05\r\n"},
		{"dual-stack SKSCAN to a single-stack module", dongle.BP35A1, "SKSCAN 2 FFFFFFFF 4 0\r\n", "FAIL ER05\r\n"},
		{"single-stack SKSCAN to a dual-stack module", dongle.BP35C2, "SKSCAN 2 FFFFFFFF 4\r\n", "FAIL ER05\r\n"},
		{"channel mask of 7 digits", dongle.BP35A1, "SKSCAN 2 FFFFFFF 4\r\n", "FAIL ER06\r\n"},
		{"scan duration F", dongle.BP35A1, "SKSCAN 2 FFFFFFFF F\r\n", "FAIL ER06\r\n"},
		{"scan mode 1", dongle.BP35A1, "SKSCAN 1 FFFFFFFF 4\r\n", "FAIL ER06\r\n"},
		{"mode 2 without a route-B id finds nothing", dongle.BP35A1, "SKSCAN 2 FFFFFFFF 4\r\n", "OK\r\nEVENT 22 " + ownIP + "\r\n"},
		{"a scan does not stop another", dongle.BP35A1, strings.Repeat("SKSCAN 2 FFFFFFFF 4\r\n", 2), strings.Repeat("OK\r\n", 2) + strings.Repeat("EVENT 22 "+ownIP+"\r\n", 2)},
		{"address in lower case", dongle.BP35A1, "SKJOIN " + strings.ToLower(meterIP) + "\r\n", "FAIL ER06\r\n"},
		{"address in short form", dongle.BP35A1, "SKJOIN FE80::200:5EEF:1000:A1\r\n", "FAIL ER06\r\n"},
		{"join without credentials", dongle.BP35A1, "SKJOIN " + meterIP + "\r\n", "FAIL ER10\r\n"},
		{"end of no session", dongle.BP35A1, "SKTERM\r\n", "FAIL ER10\r\n"},
		{"renewal of no session", dongle.BP35A1, "SKREJOIN\r\n", "FAIL ER10\r\n"},
		{"nothing saved", dongle.BP35A1, "SKLOAD\r\n", "FAIL ER10\r\n"},
		{"password longer than said", dongle.BP35A1, "SKSETPWD B 0123456789AB\r\n", "FAIL ER06\r\n"},
		{"password shorter than said", dongle.BP35A1, "SKSETPWD C 0123456789A\r\n", "OK\r\n"},
		{"route-B id of 33 characters", dongle.BP35A1, "SKSETRBID 00112233445566778899AABBCCDDEEFF0\r\n", "FAIL ER06\r\n"},
		{"a channel that is none", dongle.BP35A1, "SKSREG S2 20\r\n", "FAIL ER06\r\n"},
		{"a register that is none", dongle.BP35A1, "SKSREG SZZ\r\n", "FAIL ER06\r\n"},
		{"short register names", dongle.BP35A1, "SKSREG S2 3B\r\nSKSREG S02\r\n", "OK\r\nESREG 3B\r\nOK\r\n"},
		{"SA2 on a single-stack module", dongle.BP35A1, "SKSREG SA2 1\r\n", "OK\r\n"},
		{"product command", dongle.BP35A1, "ROPT\r", "OK 00\r"},
		{"product command with CR LF", dongle.BP35A1, "ROPT\r\n", "OK 00\r"},
		{"product command to a module without any", dongle.RL7023IPS, "ROPT\r", "FAIL ER04\r\n"},
		{"WOPT of another bit", dongle.BP35A1, "WOPT 02\r", "FAIL ER06\r\n"},
		{
			"SKSENDTO without a session: nothing is sent", dongle.BP35A1, "SKSENDTO 1 " + meterIP + " 0E1A 1 0002 \x10\x81",
			"EVENT 21 " + meterIP + " 01\r\nOK\r\n",
		},
		{
			"SKSENDTO in the clear is sent, to no avail", dongle.BP35C2, "SKSENDTO 1 " + meterIP + " 0E1A 0 0 0002 \x10\x81",
			"\r\nEVENT 21 " + meterIP + " 0 02\r\nEVENT 02 " + meterIP + " 0\r\nEVENT 21 " + meterIP + " 0 00\r\nOK\r\n",
		},
		{
			"SKSENDTO in the clear to nobody: no neighbour answers", dongle.BP35A1, "SKSENDTO 1 " + nobodyIP + " 0E1A 0 0002 \x10\x81SKVER\r\n",
			"EVENT 21 " + nobodyIP + " 02\r\nEVENT 21 " + nobodyIP + " 01\r\nOK\r\nEVER 1.2.10\r\nOK\r\n",
		},
		{
			"SKSENDTO to nobody who is in the neighbour cache: nobody acknowledges it", dongle.BP35A1, "SKADDNBR " + nobodyIP + " 00005EEF100000A2\r\nSKSENDTO 1 " + nobodyIP + " 0E1A 2 0002 \x10\x81",
			"OK\r\nEVENT 21 " + nobodyIP + " 01\r\nOK\r\n",
		},
		{"CR LF after the data is an empty line", dongle.BP35A1, "SKSENDTO 1 FF02:0000:0000:0000:0000:0000:0000:0001 0E1A 1 0002 \x10\x81\r\nSKVER\r\n", "EVENT 21 FF02:0000:0000:0000:0000:0000:0000:0001 01\r\nOK\r\nEVER 1.2.10\r\nOK\r\n"},
		{"length of three digits", dongle.BP35A1, "SKSENDTO 1 " + meterIP + " 0E1A 1 002 \x10\x81\r\n", "FAIL ER06\r\n"},
		{"length zero", dongle.BP35A1, "SKSENDTO 1 " + meterIP + " 0E1A 1 0000 \r\n", "FAIL ER06\r\n"},
		{"length beyond 1232", dongle.BP35A1, "SKSENDTO 1 " + meterIP + " 0E1A 1 04D1 \r\n", "FAIL ER06\r\n"},
		{"dual-stack SKSENDTO to a single-stack module", dongle.BP35A1, "SKSENDTO 1 " + meterIP + " 0E1A 1 0 0002 \x10\x81\r\n", "FAIL ER06\r\n"},
		{"single-stack SKSENDTO to a dual-stack module", dongle.BP35C2, "SKSENDTO 1 " + meterIP + " 0E1A 1 0002 \x10\x81\r\n", "FAIL ER05\r\n"},
		{"handle without a port", dongle.BP35A1, "SKSENDTO 3 " + meterIP + " 0E1A 1 0001 x", "FAIL ER10\r\n"},
		{"ping", dongle.BP35C2, "SKPING 0 " + meterIP + "\r\n", "EPONG " + meterIP + "\r\nOK\r\n"},
		{"the address of a MAC address, without OK", dongle.BP35A1, "SKLL64 00005EEF100000A1\r\n", meterIP + "\r\n"},
		{"the neighbour cache", dongle.BP35A1, "SKADDNBR " + meterIP + " 00005EEF100000A1\r\nSKTABLE 2\r\nSKRMDEV " + meterIP + "\r\nSKTABLE 2\r\n", "OK\r\nENEIGHBOR\r\n" + meterIP + " 00005EEF100000A1 FFFF\r\nOK\r\nOK\r\nENEIGHBOR\r\nOK\r\n"},
		{
			"the neighbour cache has room for eight", dongle.BP35A1, neighbours(9) + "SKTABLE 2\r\n" + neighbours(2) + "SKTABLE 2\r\n",
			strings.Repeat("OK\r\n", 9) + "ENEIGHBOR\r\n" + table(2, 3, 4, 5, 6, 7, 8, 9) + "OK\r\nOK\r\nOK\r\nENEIGHBOR\r\n" + table(4, 5, 6, 7, 8, 9, 1, 2) + "OK\r\n",
		},
		{"TCP handles, on a single-stack module", dongle.BP35A1, "SKTABLE F\r\nSKTABLE 9\r\nSKTABLE A\r\n", "EHANDLE\r\nOK\r\nFAIL ER06\r\nFAIL ER06\r\n"},
		{"the tables of the home area network, on a dual-stack module", dongle.BP35C2, "SKTABLE 9\r\nSKTABLE A\r\nSKTABLE F\r\n", "ENBR\r\nOK\r\nESEC\r\nOK\r\nFAIL ER06\r\n"},
		{"a handle is given a port", dongle.BP35C2, "SKUDPPORT 3 0E1A\r\nSKTABLE E\r\nSKUDPPORT 7 0E1A\r\n", "OK\r\nEPORT\r\n3610\r\n716\r\n3610\r\n0\r\n0\r\n0\r\nOK\r\nFAIL ER06\r\n"},
		{"registers are saved, loaded and erased", dongle.BP35A1, "SKSREG S3 1234\r\nSKSAVE\r\nSKSREG S3 5678\r\nSKLOAD\r\nSKSREG S3\r\nSKERASE\r\nSKLOAD\r\n", "OK\r\nOK\r\nOK\r\nOK\r\nESREG 1234\r\nOK\r\nOK\r\nFAIL ER10\r\n"},
		{"a key in place of a password", dongle.BP35A1, "SKSETPSK 10 00112233445566778899AABBCCDDEEFF\r\nSKSETPSK F 00\r\n", "OK\r\nFAIL ER06\r\n"},
		{"read-only registers", dongle.BP35A1, "SKSREG S07 1\r\nSKSREG SFB\r\nSKSREG SFD\r\n", "FAIL ER06\r\nESREG 0\r\nOK\r\nESREG 0000000000000000\r\nOK\r\n"},
		{"values that a register does not take", dongle.BP35A1, "SKSREG S3 12345\r\nSKSREG S0A short\r\nSKSREG S16 3B\r\nSKSREG SA2 2\r\nSKSREG SA5 x\r\n", strings.Repeat("FAIL ER06\r\n", 5)},
		{"the MAC address", dongle.BP35A1, "SKSREG S01 00005EEF10000009\r\nSKSREG SFE 0\r\nSKINFO\r\n", "OK\r\nOK\r\nEINFO FE80:0000:0000:0000:0200:5EEF:1000:0009 00005EEF10000009 21 FFFF FFFE\r\nOK\r\n"},
		{"the rate in flash memory", dongle.BP35A1, "RUART\rWUART 01\rRUART\r", "OK 00\rOK\rOK 01\r"},
		{"a rate or a gap that is none", dongle.BP35A1, "WUART 07\rWUART 60\rRUART\r", "FAIL ER06\r\nFAIL ER06\r\nOK 00\r"},
		{
			"the pairing id as bytes", dongle.BP35A1, "SKSREG S0B\r\nSKSETRBID 00112233445566778899AABBCCDDEEFF\r\nSKSREG S0B\r\nSKSREG S0B 3031323334353637\r\nSKSREG S0A\r\nSKSREG S0B 30\r\n",
			"ESREG 0000000000000000\r\nOK\r\nOK\r\nESREG 4343444445454646\r\nOK\r\nOK\r\nESREG 01234567\r\nOK\r\nFAIL ER06\r\n",
		},
		{"a line that never ends", dongle.BP35A1, strings.Repeat("x", 3000) + "\r\nSKVER\r\n", "FAIL ER09\r\nEVER 1.2.10\r\nOK\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := talk(t, dongle.Config{Model: tt.model, EchoOff: true}, tt.say)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// neighbours adds the first n of fictitious neighbours.
func neighbours(n int) (say string) {
	for i := range n {
		say += fmt.Sprintf("SKADDNBR FE80:0000:0000:0000:0200:5EEF:1000:010%d 00005EEF1000010%d\r\n", i+1, i+1)
	}
	return say
}

// table returns the rows of such neighbours.
func table(of ...int) (rows string) {
	for _, i := range of {
		rows += fmt.Sprintf("FE80:0000:0000:0000:0200:5EEF:1000:010%d 00005EEF1000010%d FFFF\r\n", i, i)
	}
	return rows
}

// A session can be renewed by hand, and ends.
func TestRejoin(t *testing.T) {
	got := talk(t, dongle.Config{EchoOff: true}, join+"SKADDNBR "+meterIP+" 00005EEF100000A1\r\nSKJOIN "+meterIP+"\r\n", "SKREJOIN\r\n", "SKTERM\r\n")
	want := []string{"25", "25", "27"}
	if d := cmp.Diff(want, events(got)); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}

// A renewal that is refused ends the session.
func TestRejoinIsRefused(t *testing.T) {
	refuse := dongle.Faults{Rules: map[dongle.Fault]dongle.Rule{dongle.Refuse: {At: []int{2}}}}
	got := talk(t, dongle.Config{EchoOff: true, Faults: refuse}, joined, "SKREJOIN\r\n", "SKTERM\r\n")
	if d := cmp.Diff([]string{"25", "24"}, events(got)); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
	if !strings.HasSuffix(got, "FAIL ER10\r\n") {
		t.Errorf("end of the session: said %q", got[max(0, len(got)-100):])
	}
}

// countingMeter counts what it is sent.
type countingMeter struct {
	scriptedMeter
	n atomic.Int64
}

func (m *countingMeter) WriteTo(b []byte, _ net.Addr) (int, error) {
	m.n.Add(1)
	return len(b), nil
}

// A meter announces itself when a dongle joins, not when it renews its session.
func TestGreeting(t *testing.T) {
	binary := string(slices.Concat(request(j11.Setup, 5, 0, 17, 0), request(j11.Credentials, []byte(credentials.ID+credentials.Password)...), request(j11.Start)))
	for _, tt := range []struct {
		model       dongle.Model
		first       string
		join, renew string
	}{
		{dongle.BP35A1, join, "SKJOIN " + meterIP + "\r\n", "SKREJOIN\r\n"},
		{dongle.BP35C2, join, "SKJOIN " + meterIP + "\r\n", "SKREJOIN\r\n"},
		{dongle.BP35C2J11, binary, string(request(j11.Authenticate)), string(request(j11.Renew))},
	} {
		synctest.Test(t, func(t *testing.T) {
			meter := &countingMeter{}
			b := newBench(t, dongle.Config{Model: tt.model, Meters: []*dongle.Meter{{Credentials: credentials, Conn: meter, Addr: &net.UDPAddr{}}}})
			b.ask(tt.first)
			for _, step := range []struct {
				say  string
				want int64
			}{{tt.join, 1}, {tt.renew, 1}, {tt.join, 2}} {
				b.ask(step.say)
				time.Sleep(time.Minute)
				if got := meter.n.Load(); got != step.want {
					t.Errorf("%s: %d greetings after %q, want %d", tt.model, got, step.say, step.want)
				}
			}
		})
	}
}

// join is what comes before SKJOIN.
const join = "SKSETPWD C 0123456789AB\r\nSKSETRBID 00112233445566778899AABBCCDDEEFF\r\nSKSREG S2 3B\r\nSKSREG S3 8888\r\n"

// A wrong password, a wrong channel and a meter out of reach are refused after the firmware's 39 s, in the same words.
func TestJoinIsRefused(t *testing.T) {
	for name, say := range map[string]string{
		"wrong password": "SKSETPWD C 0123456789AC\r\nSKSETRBID 00112233445566778899AABBCCDDEEFF\r\nSKSREG S2 3B\r\nSKSREG S3 8888\r\nSKJOIN " + meterIP + "\r\n",
		"wrong channel":  join + "SKSREG S2 21\r\nSKJOIN " + meterIP + "\r\n",
		"wrong network":  join + "SKSREG S3 8889\r\nSKJOIN " + meterIP + "\r\n",
		"no such meter":  join + "SKJOIN FE80:0000:0000:0000:0200:5EEF:1000:00A2\r\n",
	} {
		got := talk(t, dongle.Config{EchoOff: true}, say)
		if !strings.Contains(got, "EVENT 24 FE80:") || strings.Contains(got, "EVENT 25") {
			t.Errorf("%s: said %q", name, got)
		}
	}
}

// A reset ends a scan, a join and the goodbye of a session: none of them is heard of any more.
func TestResetEndsWhatIsUnderWay(t *testing.T) {
	known := join + "SKADDNBR " + meterIP + " 00005EEF100000A1\r\n"
	side := map[dongle.Model]string{dongle.BP35C2: " 0"}
	for _, model := range []dongle.Model{dongle.BP35A1, dongle.BP35C2} {
		for name, say := range map[string][]string{
			"scan":        {known + "SKSCAN 2 FFFFFFFF 6" + side[model] + "\r\n"},
			"energy scan": {"SKSCAN 0 FFFFFFFF 6" + side[model] + "\r\n"},
			"join":        {join + "SKJOIN " + meterIP + "\r\n"},
			"end":         {known + "SKJOIN " + meterIP + "\r\n", "SKTERM\r\n"},
		} {
			say[len(say)-1] += "SKRESET\r\n"
			got := talk(t, dongle.Config{Model: model, EchoOff: true, Downlink: -1}, say...)
			if !strings.HasSuffix(got, "OK\r\n") {
				t.Errorf("%s, %s: the reset was not the end of it: said %q", model, name, got[max(0, len(got)-200):])
			}
		}
	}
}

// Bytes are counted from the space after the length on: what follows too short a payload is taken for data.
func TestModuleCountsBytes(t *testing.T) {
	got := talk(t, dongle.Config{EchoOff: true}, "SKSENDTO 1 "+meterIP+" 0E1A 1 0010 \x10\x81", "SKVER\r\n", "SKVER\r\n")
	if strings.Contains(got, "EVER 1.2.10\r\nOK\r\nEVER") || !strings.Contains(got, "EVENT 21") {
		t.Errorf("said %q", got)
	}
}

func TestKnobs(t *testing.T) {
	got := talk(t, dongle.Config{
		Model: dongle.BP35C2, EchoOff: true, Data: "hex", Version: "9.9.9", Firmware: "mine", ExtraLines: true,
		MAC: routeb.EUI64{0, 0, 0x5E, 0xEF, 0x10, 0, 0, 9},
	}, "SKVER\r\nSKAPPVER\r\nROPT\rSKINFO\r\nSKTABLE E\r\n")
	want := "EVER 9.9.9\r\nOK\r\nEAPPVER mine\r\nOK\r\nOK 01\rEINFO FE80:0000:0000:0000:0200:5EEF:1000:0009 00005EEF10000009 21 FFFF 0\r\n" +
		"OK\r\nEPORT\r\n3610\r\n716\r\n0\r\n0\r\n0\r\n0\r\n\r\n3610\r\n0\r\n0\r\n0\r\nOK\r\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestBadConfig(t *testing.T) {
	for name, cfg := range map[string]dongle.Config{
		"no such model":             {Model: "bp35a2"},
		"no such data":              {Data: "base64"},
		"negative speed":            {Speed: -1},
		"a rate that is none":       {Baud: 300},
		"meter without credentials": {Meters: []*dongle.Meter{{}}},
		"meter on no channel":       {Meters: []*dongle.Meter{{Credentials: credentials, Channel: 61}}},
		"two meters of one address": {Meters: []*dongle.Meter{
			{Credentials: credentials, MAC: routeb.EUI64{1}}, {Credentials: credentials, MAC: routeb.EUI64{1}},
		}},
		"lock that cannot be made":   {Meters: []*dongle.Meter{{Credentials: credentials, Lock: "missing/lock"}}},
		"connection without address": {Meters: []*dongle.Meter{{Credentials: credentials, Conn: &scriptedMeter{}}}},
	} {
		if _, err := dongle.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestParseFaults(t *testing.T) {
	f, err := dongle.ParseFaults(" seed=7, drop=0.01,split,no-beacon=@1, unplug=@3@9 ")
	if err != nil {
		t.Fatal(err)
	}
	want := dongle.Faults{Seed: 7, Rules: map[dongle.Fault]dongle.Rule{
		dongle.Drop: {Chance: 0.01}, dongle.Split: {Chance: 1}, dongle.NoBeacon: {At: []int{1}}, dongle.Unplug: {At: []int{3, 9}},
	}}
	if d := cmp.Diff(want, f); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	again, err := dongle.ParseFaults(f.String())
	if d := cmp.Diff(f, again); d != "" || err != nil {
		t.Errorf("%s: %v (-want +got):\n%s", f, err, d)
	}
	for _, bad := range []string{"nosuch", "drop=2", "drop=-1", "drop=NaN", "drop=@0", "drop=@x", "drop=", "seed=x"} {
		if _, err := dongle.ParseFaults(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

// No host can bring a dongle down.
func FuzzHost(f *testing.F) {
	f.Add([]byte("SKSREG SFE 0\r\nSKSCAN 2 FFFFFFFF 4\r\n"), uint8(0))
	f.Add([]byte("SKSENDTO 1 "+meterIP+" 0E1A 1 0 0002 \x10\x81"), uint8(1))
	f.Add([]byte("SKSETPWD C 0123456789AB\r\nSKSETRBID 00112233445566778899AABBCCDDEEFF\r\nSKSREG S2 3B\r\nSKSREG S3 8888\r\nSKJOIN "+meterIP+"\r\n"), uint8(2))
	f.Add([]byte("\xD0\xEA\x83\xFC\x00\xD9\x00\x04\x04\x16\x00\x00"), uint8(5))
	f.Fuzz(func(t *testing.T, b []byte, model uint8) {
		models := dongle.Models()
		talk(t, dongle.Config{Model: models[int(model)%len(models)]}, string(b), "\r\n", "SKVER\r\n")
	})
}

func TestPTYLink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "dongle")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	p, err := dongle.OpenPTY(link)
	if err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != p.Name() {
		t.Errorf("link to %q, %v; want %q", target, err, p.Name())
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(link); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link is still there: %v", err)
	}
	if err := os.WriteFile(link, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dongle.OpenPTY(link); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file in the link's place: %v, want %v", err, fs.ErrExist)
	}
}

// A pseudo-terminal passes every byte, and its end can be closed while a host has the other open.
func TestPTYIsRaw(t *testing.T) {
	p, err := dongle.OpenPTY("")
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.OpenFile(p.Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	got := make([]byte, len(all))
	if _, err := host.Write(all); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, all) {
		t.Errorf("to the dongle: % X, %v", got, err)
	}
	if _, err := p.Write(all); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(host, got); err != nil || !bytes.Equal(got, all) {
		t.Errorf("to the host: % X, %v", got, err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := p.Read(got)
		ended <- err
	}()
	p.Close()
	if err := <-ended; err == nil {
		t.Error("a read after Close went well")
	}
}

func TestServeIsForOneLineAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := dongle.New(dongle.Config{})
		if err != nil {
			t.Fatal(err)
		}
		powerUp(t, d)
		var other dongle.Cable
		line, err := other.Plug()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Serve(context.Background(), line); err == nil {
			t.Error("a second line was served")
		}
	})
}

func ExampleDongle() {
	d, err := dongle.New(dongle.Config{Model: dongle.BP35A1, EchoOff: true})
	if err != nil {
		panic(err)
	}
	var cable dongle.Cable
	ctx, cancel := context.WithCancel(context.Background())
	line, _ := cable.Plug()
	done := make(chan error)
	go func() { done <- d.Serve(ctx, line) }()

	host, _ := cable.Open("", 0)
	io.WriteString(host, "SKVER\r\n")
	answer := make([]byte, len("EVER 1.2.10\r\nOK\r\n"))
	io.ReadFull(host, answer)
	os.Stdout.Write(bytes.ReplaceAll(answer, []byte("\r"), nil))
	host.Close()
	cancel()
	<-done
	// Output:
	// EVER 1.2.10
	// OK
}
