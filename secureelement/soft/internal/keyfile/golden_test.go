package keyfile_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/meterseal/meterseal/eventlog"
)

// golden is a key file under the passphrase "open sesame", made by this package
// and opened by others: libargon2 20171227 for the derivation, libsodium 1.0.18
// for the cipher and pyca/cryptography 48 for the PKCS#8 gave goldenScalar.
const golden = "" +
	"4d534c4b4559" + // magic
	"0102" + // version, scheme counter
	"00000040" + // 64 KiB
	"0302" + // 3 passes, 2 lanes
	"009a" + // sealed length 154
	"4e4af217528e758dd07c31b09bbb23f5" + // salt
	"32289582894e19929b262a730f7f1f28772ad9cab195b932" + // nonce
	"45af2dd0fd2fea9e35dcf87d4732a4e9b610337b092df1dedd3f8855f3f44747" + // sealed PKCS#8
	"6fced3de0458cc14a477bb88dc220c41ad7446bbb3c354c8ac384d9f07db031a" +
	"13425b10d49a89569ace1e4ef4f1eeca50fb6793aa853b1025f61b7ea8a983a2" +
	"c9eec412db53f1af2c53a362e4c98b8a38e37e62b391e035d00c9d76a9fc3d89" +
	"2d5d6972baa217c862ba766a333649c01c72148797860ca34a83"

const goldenScalar = "f46112232911f1d8d43f4c73142140b49b4aabb2b7c3be0db1ac00b9e54ee1c2"

func decode(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGoldenFile(t *testing.T) {
	key, scheme, err := unseal(decode(t, golden), passphrase)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if want := decode(t, goldenScalar); !bytes.Equal(scalar, want) || scheme != eventlog.SchemeCounter {
		t.Errorf("key %x of scheme %v, want %x of scheme counter", scalar, scheme, want)
	}
}
