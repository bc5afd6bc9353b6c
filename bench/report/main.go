// Command report turns the output of go test -bench, read from standard input,
// into the tables of docs/performance.md. Each figure is the median of the
// runs, each ratio that of two medians of the same run.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// row is one line of the comparison table.
type row struct {
	what   string
	bench  string
	beside string // the benchmark it is compared with
	speed  bool   // the ratio is how many times faster than beside; else how much of its time
	goal   string
}

var rows = []row{
	{"decode a 30-byte Get_Res", "FrameDecode", "FrameDecodeGoSmartmeter", true, "at most 40 ns, 0 allocations"},
	{"encode it", "FrameEncode", "FrameEncodeGoSmartmeter", true, "at most 30 ns, 0 allocations"},
	{"sealed durable event, scheme counter", "DurableEventCounter", "DurableEventTessera", true, "at least 3x tessera's POSIX log, one entry at a time"},
	{"sealed durable event, scheme digest", "DurableEventDigest", "DurableEventTessera", true, "at least 3x"},
	{"verify 48 new records on a year's log", "Verify48OnYear", "VerifyBareECDSA", false, "at most 1.15x one P-256 verification"},
	{"verify a year in full (17,520 records)", "VerifyYear", "VerifyBareECDSA", false, "under 1.5 ms"},
	{"Get over UDP loopback, one at a time, one core", "OneCoreRoundTrip", "OneCoreRoundTripBareUDP", true, "at least 0.8x of a bare UDP echo"},
	{"the same, two cores", "RoundTrip", "RoundTripBareUDP", true, "at least 0.8x"},
	{"the same, two cores, 64 in flight", "RoundTripInFlight", "RoundTripBareUDP", true, "several times"},
	{"the limit: plain sockets, 64 in flight", "RoundTripBareUDPInFlight", "RoundTripBareUDP", true, "-"},
}

type result struct{ ns, allocs []float64 }

func main() {
	results, conditions, err := read(os.Stdin)
	if err == nil {
		err = write(os.Stdout, results, conditions)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report: "+err.Error())
		os.Exit(1)
	}
}

// read takes the benchmark lines and the lines that name the machine.
func read(r io.Reader) (map[string]*result, []string, error) {
	results := map[string]*result{}
	var conditions []string
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		line := sc.Text()
		if strings.HasPrefix(line, "cpu:") && !slices.Contains(conditions, line) {
			conditions = append(conditions, line)
		}
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") || f[3] != "ns/op" {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(f[0], "Benchmark"), "-")
		res := results[name]
		if res == nil {
			res = &result{}
			results[name] = res
		}
		ns, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return nil, nil, err
		}
		res.ns = append(res.ns, ns)
		for i := 4; i+1 < len(f); i++ {
			if f[i+1] == "allocs/op" {
				n, err := strconv.ParseFloat(f[i], 64)
				if err != nil {
					return nil, nil, err
				}
				res.allocs = append(res.allocs, n)
			}
		}
	}
	return results, conditions, sc.Err()
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func write(w io.Writer, results map[string]*result, conditions []string) error {
	for _, c := range conditions {
		fmt.Fprintf(w, "%s\n", c)
	}
	fmt.Fprint(w, "\n| what | ours | allocations | beside it | ratio | goal |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		a, b := results[r.bench], results[r.beside]
		if a == nil || b == nil {
			return fmt.Errorf("no result of %s or %s", r.bench, r.beside)
		}
		allocs := "-"
		if len(a.allocs) > 0 {
			allocs = strconv.Itoa(int(median(a.allocs)))
		}
		x, y := median(a.ns), median(b.ns)
		ratio := fmt.Sprintf("%.2fx its time", x/y)
		if r.speed {
			ratio = fmt.Sprintf("%.2fx its rate", y/x)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s: %s | %s | %s |\n", r.what, duration(x), allocs, r.beside, duration(y), ratio, r.goal)
	}
	return nil
}

func duration(ns float64) string {
	switch {
	case ns < 1e3:
		return fmt.Sprintf("%.1f ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.1f us", ns/1e3)
	}
	return fmt.Sprintf("%.2f ms", ns/1e6)
}
