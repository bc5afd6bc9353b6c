package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/eventlog/verify"
)

func newVerify() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify FILE.mseal (--key PEM | --root PEM --meter ID)",
		Short: "Verify a bundle offline, with nothing but the meter's public key",
		Long: `Verify a bundle offline, with nothing but the meter's public key.

The key comes from the enrolment, never from the bundle: as a PEM file, or as
the leaf of the bundle's certificate chain when that leads to the root given
and names the meter. Of a meter whose key was changed, give all keys that sealed
what the bundle holds. "-" reads the bundle from standard input.

What cannot be seen offline is whether this is the newest log. --head takes a
seal that is known already: a bundle that does not contain it is rolled back or
forked. --nonce takes the nonce of a challenge: a bundle that does not answer
it is stale.

Exit status: 0 INTACT or INTACT_WITH_TAIL, 3 any other verdict (and, with
--no-tail, INTACT_WITH_TAIL), 1 it could not be judged, 2 wrong usage. The
verdicts are those of docs/verdicts.md.`,
		Example: `  meterseal verify evidence.mseal --key meter1.pem
  meterseal verify evidence.mseal --root utility-ca.pem --meter FFFFFF-MS0000000001
  meterseal verify evidence.mseal --key meter1.pem --head last.seal --json`,
		Args: wants("FILE.mseal"),
		RunE: runVerify,
	}
	f := c.Flags()
	f.StringArray("key", nil, "PEM file with a public key of the meter; again for each of its keys")
	f.String("root", "", "PEM file with the root certificate that the bundle's chain must lead to; needs --meter")
	f.String("meter", "", "meter id that the log must name; needed with --root")
	f.String("scheme", "auto", "scheme of the key: digest, counter, or auto, which takes the one that the log names and lets the signature decide")
	f.String("policy", "", "specific events that the meter must seal: a list, default, or all; empty = whatever the signed header names")
	f.String("head", "", "file with a seal that is known already, as export --seal writes it")
	f.String("nonce", "", "nonce of a challenge that must be answered, 64 hexadecimal digits")
	f.Bool("no-tail", false, "unsigned records after the signed ones make the exit status 3")
	f.Bool("json", false, "print JSON")
	return c
}

func runVerify(c *cobra.Command, args []string) error {
	raw, err := readBundle(c.InOrStdin(), args[0])
	if err != nil {
		return err
	}
	in := &verify.Input{Received: time.Now(), Bundle: new(eventlog.Bundle)}
	malformed := in.Bundle.UnmarshalBinary(raw)
	if err := fillInput(c, in, malformed); err != nil {
		return err
	}
	var report *verify.Report
	if malformed == nil {
		report, err = verify.Verify(in)
	} else {
		report, err = verify.VerifyRaw(in, raw) // says what is wrong with it
	}
	if err != nil {
		return err
	}
	if len(raw) > eventlog.MaxBundle { // the rest was not read, and its length is not known
		report.Findings = []verify.Finding{{Code: verify.FindBundle, Detail: fmt.Sprintf("more than %d bytes, the most that a bundle has", eventlog.MaxBundle)}}
	}
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		err = printJSON(c.OutOrStdout(), reportJSON{report, known(&report.Meter), known(&report.Key)})
	} else {
		err = printReport(c.OutOrStdout(), report)
	}
	if err != nil {
		return err
	}
	noTail, _ := c.Flags().GetBool("no-tail")
	if !report.Verdict.Intact() || noTail && report.Verdict != verify.Intact {
		return errNotIntact
	}
	return nil
}

// reportJSON is a report without the meter and the key that it does not know.
type reportJSON struct {
	*verify.Report
	Meter *eventlog.MeterID `json:"meter,omitempty"`
	Key   *eventlog.KeyID   `json:"key,omitempty"`
}

// known returns nil for a zero value.
func known[T comparable](v *T) *T {
	if *v == *new(T) {
		return nil
	}
	return v
}

// readBundle reads a bundle from a file, or from stdin for "-", up to the size
// limit and one byte, so that a larger one is refused without being held.
func readBundle(stdin io.Reader, path string) ([]byte, error) {
	r := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
		defer f.Close()
		r = f
	}
	raw, err := io.ReadAll(io.LimitReader(r, eventlog.MaxBundle+1))
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return raw, nil
}

// fillInput fills in what the flags say of the bundle in the input. malformed is
// why it does not decode, nil if it does.
func fillInput(c *cobra.Command, in *verify.Input, malformed error) error {
	f := c.Flags()
	keyFiles, _ := f.GetStringArray("key")
	rootFile, _ := f.GetString("root")
	meterText, _ := f.GetString("meter")
	in.Registration.AnyMeter = meterText == ""
	if meterText != "" {
		id, err := eventlog.ParseMeterID(meterText)
		if err != nil {
			return usagef("--meter: %w", err)
		}
		in.Registration.Meter = id
	}
	var pubs []*ecdsa.PublicKey
	switch {
	case len(keyFiles) > 0 && rootFile != "":
		return usagef("--key and --root exclude each other")
	case len(keyFiles) > 0:
		for _, path := range keyFiles {
			pub, err := readPublicKey(path)
			if err != nil {
				return err
			}
			pubs = append(pubs, pub)
		}
	case rootFile != "" && meterText == "":
		return usagef("--root needs --meter: a chain proves a key, the meter id says whose it must be")
	case rootFile != "" && malformed != nil:
		_, err := readRoots(rootFile)
		return err // whoever signed it: it is malformed
	case rootFile != "":
		pub, err := keyFromChain(in.Bundle, rootFile, in.Registration.Meter)
		if err != nil {
			return err
		}
		pubs = append(pubs, pub)
	default:
		return usagef("who signed this? Give --key PEM, or --root PEM and --meter ID")
	}
	for _, pub := range pubs {
		id, err := eventlog.KeyIDOf(pub)
		if err != nil {
			return err
		}
		scheme, err := verifyScheme(c, in.Bundle, id)
		if err != nil {
			return err
		}
		key, err := verify.NewKey(pub, scheme)
		if err != nil {
			return err
		}
		in.Registration.Keys = append(in.Registration.Keys, key)
	}
	if text, _ := f.GetString("policy"); text != "" {
		p, err := eventlog.ParsePolicy(1, text)
		if err != nil {
			return usagef("--policy: %w", err)
		}
		in.Registration.Policy = &p
	}
	return verifyMemory(c, in)
}

// verifyScheme returns the scheme of a key: --scheme, or for "auto" what the bundle
// names. The two schemes sign messages that begin differently, so a signature of
// one never verifies as one of the other, and naming the wrong one only fails.
func verifyScheme(c *cobra.Command, bundle *eventlog.Bundle, key eventlog.KeyID) (eventlog.Scheme, error) {
	text, _ := c.Flags().GetString("scheme")
	if text != "auto" {
		scheme, err := eventlog.ParseScheme(text)
		if err != nil {
			return 0, usagef("--scheme: %w", err)
		}
		return scheme, nil
	}
	for _, p := range bundle.Parts {
		var s eventlog.Seal
		if s.UnmarshalBinary(p.Seal) == nil && s.KeyPrefix == [8]byte(key[:]) {
			return s.Scheme, nil
		}
	}
	return eventlog.SchemeCounter, nil
}

// verifyMemory gives the verifier what it is told to know already: a seal, a
// nonce.
func verifyMemory(c *cobra.Command, in *verify.Input) error {
	if path, _ := c.Flags().GetString("head"); path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("known seal: %w", err)
		}
		if in.Known.Head, err = verify.Pin(&in.Registration, b); err != nil {
			return fmt.Errorf("known seal %s: %w", path, err)
		}
	}
	if text, _ := c.Flags().GetString("nonce"); text != "" {
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != 32 {
			return usagef("--nonce: want 64 hexadecimal digits")
		}
		in.Nonces = []verify.Nonce{{Value: [32]byte(b)}}
	}
	return nil
}

// keyFromChain takes the leaf's key of the bundle's certificate chain, if the
// chain leads to the root and the leaf's serial number is the meter id.
func keyFromChain(bundle *eventlog.Bundle, rootFile string, meter eventlog.MeterID) (*ecdsa.PublicKey, error) {
	roots, err := readRoots(rootFile)
	if err != nil {
		return nil, err
	}
	chain, err := x509.ParseCertificates(bundle.Chain)
	if err != nil {
		return nil, fmt.Errorf("certificate chain of the bundle: %w", err)
	}
	if len(chain) == 0 {
		return nil, errors.New("the bundle carries no certificate chain: give --key instead")
	}
	middle := x509.NewCertPool()
	for _, cert := range chain[1:] {
		middle.AddCert(cert)
	}
	leaf := chain[0]
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return nil, fmt.Errorf("certificate chain of the bundle: %w", err)
	}
	if leaf.Subject.SerialNumber != meter.String() {
		return nil, fmt.Errorf("the certificate is for %q, not for meter %s", leaf.Subject.SerialNumber, meter)
	}
	pub, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the certificate holds a %T, want a key on P-256", leaf.PublicKey)
	}
	return pub, nil
}

// readRoots reads root certificates from a PEM file.
func readRoots(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("root certificate: %w", err)
	}
	roots := x509.NewCertPool()
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("root certificate: %s: %w", path, err)
		}
		roots.AddCert(cert)
	}
	if roots.Equal(x509.NewCertPool()) {
		return nil, fmt.Errorf("root certificate: %s has no PEM block CERTIFICATE", path)
	}
	return roots, nil
}

// missing says which segments are missing, and whose word that is.
func missing(m verify.Missing) string {
	switch {
	case m.First != m.Last:
		return fmt.Sprintf("segments %d to %d, says the %s", m.First, m.Last, m.By)
	case m.From > 0:
		return fmt.Sprintf("segment %d from byte %d on, says the %s", m.First, m.From, m.By)
	}
	return fmt.Sprintf("segment %d, says the %s", m.First, m.By)
}

// printReport prints a report for people, in lines that grep likes.
func printReport(w io.Writer, r *verify.Report) error {
	var b bytes.Buffer
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-8s "+format+"\n", append([]any{name}, args...)...)
	}
	line("verdict", "%s", r.Verdict)
	if r.Meter != (eventlog.MeterID{}) {
		line("meter", "%s", r.Meter)
	}
	if r.Key != (eventlog.KeyID{}) {
		line("key", "%s, scheme %s", r.Key, r.Scheme)
	}
	if r.SignedLength > 0 {
		line("as of", "sequence %d, %s by the meter's clock", r.LastSeq, r.AsOf.Format(time.RFC3339))
		line("signed", "segment %d, %d bytes", r.Segment, r.SignedLength)
		line("tail", "%s", plural(r.Tail, "unsigned record"))
	} else {
		line("as of", "nothing: no signature holds")
	}
	if r.NeedFrom != nil {
		line("need", "segment %d from byte %d on", r.NeedFrom.Segment, r.NeedFrom.Offset)
	}
	for _, m := range r.Missing {
		line("missing", "%s", missing(m))
	}
	for _, f := range r.Findings {
		where := ""
		if f.Segment != 0 {
			where = fmt.Sprintf(" segment %d offset %d", f.Segment, f.Offset)
			if f.Seq != 0 {
				where += fmt.Sprintf(" sequence %d", f.Seq)
			}
		}
		line("finding", "%s%s: %s", f.Code, where, f.Detail)
	}
	_, err := w.Write(b.Bytes())
	return err
}
