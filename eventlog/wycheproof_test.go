package eventlog_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
	"github.com/meterseal/meterseal/fixtures/wycheproof"
)

// TestWycheproof runs published vectors through our own decoders of signatures
// and through Verify.
func TestWycheproof(t *testing.T) {
	half := new(big.Int).Rsh(elliptic.P256().Params().N, 1)
	for _, c := range []struct {
		name           string
		file           []byte
		decode         func([]byte) (eventlog.Signature, error)
		valid, invalid int
		high           int // valid ones with s in the upper half
	}{
		{"raw", wycheproof.Raw, eventlog.ParseSignature, 173, 89, 70},
		{"DER", wycheproof.DER, eventlog.SignatureFromDER, 174, 310, 71},
	} {
		t.Run(c.name, func(t *testing.T) {
			valid, invalid, high := 0, 0, 0
			for _, v := range readVectors(t, c.file) {
				sig, err := c.decode(v.sig)
				got := err == nil && sig.Verify(v.pub, sha256.Sum256(v.msg))
				switch {
				case got != v.valid:
					t.Errorf("vector %d (%s): valid %v, want %v (%v)", v.id, v.comment, got, v.valid, err)
				case !got:
					invalid++
				default:
					valid++
					if new(big.Int).SetBytes(sig[32:]).Cmp(half) > 0 {
						high++
					}
				}
			}
			if valid != c.valid || invalid != c.invalid || high != c.high {
				t.Errorf("%d valid (%d high), %d invalid; want %d (%d), %d", valid, high, invalid, c.valid, c.high, c.invalid)
			}
		})
	}
}

type vector struct {
	id       int
	comment  string
	pub      *ecdsa.PublicKey
	msg, sig []byte
	valid    bool
}

func readVectors(t *testing.T, file []byte) []vector {
	t.Helper()
	var doc struct {
		NumberOfTests int
		TestGroups    []struct {
			PublicKey struct{ Uncompressed string }
			Tests     []struct {
				TcID              int
				Comment, Msg, Sig string
				Result            string
			}
		}
	}
	if err := json.Unmarshal(file, &doc); err != nil {
		t.Fatal(err)
	}
	var all []vector
	for _, g := range doc.TestGroups {
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), unhex(t, g.PublicKey.Uncompressed))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range g.Tests {
			if v.Result != "valid" && v.Result != "invalid" {
				t.Fatalf("vector %d: result %q", v.TcID, v.Result)
			}
			all = append(all, vector{v.TcID, v.Comment, pub, unhex(t, v.Msg), unhex(t, v.Sig), v.Result == "valid"})
		}
	}
	if len(all) != doc.NumberOfTests {
		t.Fatalf("%d vectors, the file says %d", len(all), doc.NumberOfTests)
	}
	return all
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
