package device_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/secureelement/soft"
)

// kills returns how often the kill loop kills: the environment variable KILLS,
// else 20 times EFFORT.
func kills(t *testing.T) int { return setting(t, "KILLS", 20*setting(t, "EFFORT", 1)) }

// setting returns a positive number from the environment.
func setting(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is no positive number", name, s)
	}
	return n
}

// TestKill kills a meter process with SIGKILL at random moments while events
// come in, again and again on the same directory. No event that Record had
// returned for is lost, no seal that was promised is missing, and the log is
// sound.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := soft.Create(t.Context(), softConfig(key), eventlog.SchemeCounter); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	promised := map[uint32]promise{}
	n := kills(t)
	for i := range n {
		killOne(t, dir, rng, promised)
		if i%10 == 9 || i == n-1 {
			checkPromises(t, dir, promised)
		}
		if t.Failed() {
			t.Fatalf("after %d kills", i+1)
		}
	}

	if len(promised) < n {
		t.Fatalf("the victims recorded %d events in %d lives", len(promised), n)
	}

	module, err := openSoft(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer module.Close()
	r := newRig(t)
	c := victimConfig(dir)
	c.Module, c.SignTimeout = module, r.cfg.SignTimeout
	r.cfg = c
	r.start()
	if rec := r.record(coverOpened); !rec.Sealed {
		t.Errorf("not sealed after all that: %+v", rec)
	}
	r.close()
	list, seal := audit(t, r.cfg.Dir, module.PublicKey())
	if count(list, eventlog.CodeLogDamaged) != 0 {
		t.Errorf("LOG_DAMAGED in a log that nobody edited")
	}
	if int(seal.Counter) > specifics(list) {
		t.Errorf("counter %d for %d specific records", seal.Counter, specifics(list))
	}
	t.Logf("%d kills, %d events, %d records in %d segments", n, len(promised), len(list), list[len(list)-1].segment)
}

// promise is what the victim said of an event.
type promise struct {
	event  eventlog.Event
	sealed bool
}

// killOne runs a victim, kills it some time after its first event, and notes
// what it has promised.
func killOne(t *testing.T, dir string, rng *rand.Rand, promised map[uint32]promise) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	delay := time.Duration(rng.Int64N(int64(40 * time.Millisecond)))
	// Some are killed while they start.
	if rng.IntN(5) == 0 {
		time.AfterFunc(delay, func() { cmd.Process.Kill() })
	}
	first := true
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if first {
			first = false
			time.AfterFunc(delay, func() { cmd.Process.Kill() })
		}
		var seq uint32
		var p promise
		var class uint8
		if _, err := fmt.Sscan(lines.Text(), &seq, &class, &p.event.Code, &p.sealed); err != nil {
			break // cut by the kill
		}
		p.event.Class = eventlog.Class(class)
		if old, ok := promised[seq]; ok {
			t.Errorf("sequence number %d was given to %v and to %v", seq, old.event, p.event)
		}
		promised[seq] = p
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != -1 {
		t.Errorf("the victim ended by itself: %v", err)
	}
}

// checkPromises compares the log with what was promised.
func checkPromises(t *testing.T, dir string, promised map[uint32]promise) {
	t.Helper()
	var c eventlog.Seal
	for _, s := range readSeals(t, filepath.Join(dir, "meter")) {
		if s.LastSeq > c.LastSeq {
			c = s
		}
	}
	found := map[uint32]eventlog.Event{}
	segments := readSegments(t, filepath.Join(dir, "meter"))
	for i := range segments {
		for _, e := range segments[i].entries(t, i == len(segments)-1) {
			found[e.Seq] = e.Event()
		}
	}
	for seq, p := range promised {
		if e, ok := found[seq]; !ok || e != p.event {
			t.Errorf("event %v was promised as record %d; there is %v", p.event, seq, e)
		}
		if p.sealed && seq > c.LastSeq {
			t.Errorf("record %d was promised to be sealed; the newest seal ends with %d", seq, c.LastSeq)
		}
	}
}
