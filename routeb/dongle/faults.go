package dongle

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Fault is something that goes wrong. Each has its own kind of occasion, at which it may hit.
type Fault string

// The faults, by occasion.
const (
	// At each datagram of the host:
	Unsent    Fault = "unsent"    // the radio fails: EVENT 21 01, nothing is sent
	NoResult  Fault = "no21"      // EVENT 21 is missing
	OnlyNS    Fault = "only02"    // EVENT 21 02 and no other
	OKFirst   Fault = "ok-first"  // OK before EVENT 21
	OKLast    Fault = "ok-last"   // OK 1 s after EVENT 21, when the meter may have answered
	Neighbour Fault = "neighbour" // the neighbour is forgotten: EVENT 21 02 first. Also at SKTERM
	EchoData  Fault = "echo-data" // the echo holds the first bytes of the data
	Hang      Fault = "hang"      // two bytes of the data are lost on the serial line, and the module waits for them
	Freeze    Fault = "freeze"    // the module hears and says nothing for a minute
	Forget    Fault = "forget"    // the meter forgets the session and says nothing any more
	End24     Fault = "end24"     // a renewal fails
	End26     Fault = "end26"     // the meter ends the session
	End27     Fault = "end27"     // the session is over
	End28     Fault = "end28"     // the session is over, and the meter did not answer
	End29     Fault = "end29"     // the session expires and is not renewed
	Lapse     Fault = "lapse"     // the session expires and is renewed 10 s later
	Limit     Fault = "limit"     // the transmit time is used up for a minute
	Unplug    Fault = "unplug"    // the device is gone, and back after 3 s

	// At each radio frame, of which a datagram takes one for every 200 bytes:
	Frame Fault = "frame" // lost, and with it the datagram; if it is the host's, EVENT 21 01 says so

	// At each datagram of the meter:
	Drop      Fault = "drop"  // lost
	Delay     Fault = "delay" // 5 s later than usual
	Late      Fault = "late"  // 30 s later than usual
	Duplicate Fault = "dup"   // twice

	// At each line that the dongle writes:
	Interleave Fault = "interleave" // an event that nobody asked for comes before it
	Noise      Fault = "noise"      // a datagram on another port or without encryption comes before it
	EmptyLine  Fault = "cr"         // an empty line comes before it
	LostByte   Fault = "lost-byte"  // one of its bytes is lost on the serial line
	Split      Fault = "split"      // it is written byte by byte

	// At each scan:
	NoBeacon   Fault = "no-beacon"   // nothing is heard
	LateBeacon Fault = "late-beacon" // the network is described after EVENT 22
	Foreign    Fault = "foreign"     // a neighbour's meter is described too

	// At each SKJOIN:
	Refuse     Fault = "refuse"      // EVENT 24
	SilentJoin Fault = "silent-join" // neither EVENT 24 nor 25

	// At each start of route-B operation of a J11 module:
	StartFails Fault = "start-fails" // the meter does not answer

	// At occasions of their own:
	Garbage    Fault = "garbage"     // at the first byte from the host: stray bytes and half a line
	VersionErr Fault = "skver"       // at each SKVER: it fails
	EndTimeout Fault = "end-timeout" // at each SKTERM: the meter does not answer
	NoRenewal  Fault = "no-renewal"  // at each automatic renewal: it fails, and the session expires
)

var allFaults = []Fault{
	Unsent, NoResult, OnlyNS, OKFirst, OKLast, Neighbour, EchoData, Hang, Freeze, Forget, End24, End26, End27, End28, End29, Lapse,
	Limit, Unplug, Frame, Drop, Delay, Late, Duplicate, Interleave, Noise, EmptyLine, LostByte, Split, NoBeacon, LateBeacon,
	Foreign, Refuse, SilentJoin, StartFails, Garbage, VersionErr, EndTimeout, NoRenewal,
}

// AllFaults returns every fault.
func AllFaults() []Fault { return slices.Clone(allFaults) }

// Faults says when which fault hits. The zero value is a dongle without faults.
type Faults struct {
	Seed  uint64         // of chance
	Rules map[Fault]Rule // at most one for each
}

// Rule is when a fault hits.
type Rule struct {
	Chance float64 // at each occasion, 0 to 1
	At     []int   // at these occasions, the first being 1
}

// ParseFaults reads a comma-separated list such as "seed=7,drop=0.01,split,no-beacon=@1,unplug=@3@9": a fault alone
// always hits, with a number it hits by chance, with @n at its n-th occasion.
func ParseFaults(spec string) (Faults, error) {
	f := Faults{Rules: make(map[Fault]Rule)}
	for item := range strings.SplitSeq(spec, ",") {
		name, value, hasValue := strings.Cut(strings.TrimSpace(item), "=")
		var err error
		switch {
		case name == "" && !hasValue:
			continue
		case name == "seed":
			f.Seed, err = strconv.ParseUint(value, 10, 64)
		case !slices.Contains(allFaults, Fault(name)):
			return Faults{}, fmt.Errorf("dongle: no fault %q: want seed or one of %v", name, allFaults)
		case !hasValue:
			f.Rules[Fault(name)] = Rule{Chance: 1}
		default:
			f.Rules[Fault(name)], err = parseRule(value)
		}
		if err != nil {
			return Faults{}, fmt.Errorf("dongle: fault %q: %w", item, err)
		}
	}
	return f, nil
}

func parseRule(value string) (r Rule, err error) {
	ordinals, isOrdinal := strings.CutPrefix(value, "@")
	if !isOrdinal {
		r.Chance, err = strconv.ParseFloat(value, 64)
		if err == nil && !(r.Chance >= 0 && r.Chance <= 1) {
			err = fmt.Errorf("chance %v is not within 0 and 1", r.Chance)
		}
		return r, err
	}
	for s := range strings.SplitSeq(ordinals, "@") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return r, fmt.Errorf("occasion %q is no number from 1", s)
		}
		r.At = append(r.At, n)
	}
	return r, nil
}

// String returns what ParseFaults reads.
func (f Faults) String() string {
	items := []string{fmt.Sprintf("seed=%d", f.Seed)}
	for _, name := range slices.Sorted(maps.Keys(f.Rules)) {
		r := f.Rules[name]
		value := strconv.FormatFloat(r.Chance, 'g', -1, 64)
		if len(r.At) > 0 {
			value = ""
			for _, n := range r.At {
				value += fmt.Sprintf("@%d", n)
			}
		}
		items = append(items, fmt.Sprintf("%s=%s", name, value))
	}
	return strings.Join(items, ",")
}

// injector decides at each occasion. Each fault has a source of chance of its own, so that one does not disturb another.
type injector struct {
	rules   map[Fault]Rule
	seen    map[Fault]int
	forced  map[Fault]int // hits to come at the next occasions
	sources map[Fault]*rand.Rand
	seed    uint64
}

func newInjector(f Faults) *injector {
	return &injector{
		rules: f.Rules, seed: f.Seed,
		seen: make(map[Fault]int), forced: make(map[Fault]int), sources: make(map[Fault]*rand.Rand),
	}
}

// hits counts an occasion of the fault and says whether it hits.
func (in *injector) hits(f Fault) bool {
	in.seen[f]++
	if in.forced[f] > 0 {
		in.forced[f]--
		return true
	}
	r, ok := in.rules[f]
	if !ok {
		return false
	}
	return slices.Contains(r.At, in.seen[f]) || r.Chance > 0 && in.rand(f).Float64() < r.Chance
}

func (in *injector) rand(f Fault) *rand.Rand {
	if in.sources[f] == nil {
		h := fnv.New64a()
		h.Write([]byte(f))
		in.sources[f] = rand.New(rand.NewPCG(in.seed, h.Sum64()))
	}
	return in.sources[f]
}
