package eventlog

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

const (
	// ReceiptSize is the size in bytes of a signed receipt.
	ReceiptSize = receiptBody + SignatureSize
	// ChallengeSize is the size in bytes of a signed challenge.
	ChallengeSize = challengeBody + SignatureSize

	receiptBody   = 116
	challengeBody = 104
)

// Errors of MDMS messages.
var (
	// ErrMessage says that bytes are no receipt or no challenge.
	ErrMessage = errors.New("eventlog: not a message of the MDMS")
	// ErrMessageSignature says that a receipt or challenge is not signed by
	// the MDMS key that was given.
	ErrMessageSignature = errors.New("eventlog: the message is not signed by this MDMS")
)

// Receipt is the MDMS's word that it holds a closed segment. It permits
// pruning, so it is signed: a courier cannot make one up.
//
//	off size field
//	  0   16 tag "meterseal:rcpt:1"
//	 16   32 MDMS key id
//	 48   15 meter id
//	 63    1 zero
//	 64    4 segment
//	 68    8 length in bytes
//	 76   32 digest
//	108    8 time, ms since the Unix epoch, UTC
//	116   64 ES256 over SHA-256 of all bytes before it, r || s
type Receipt struct {
	MDMS      KeyID
	Meter     MeterID
	Segment   uint32
	Length    uint64 // bytes
	Digest    Digest
	Millis    int64 // ms since the Unix epoch
	Signature Signature
}

func (r *Receipt) body(b []byte) []byte {
	b = append(b, receiptTag...)
	b = append(b, r.MDMS[:]...)
	b = append(append(b, r.Meter[:]...), 0)
	b = binary.BigEndian.AppendUint32(b, r.Segment)
	b = binary.BigEndian.AppendUint64(b, r.Length)
	b = append(b, r.Digest[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(r.Millis))
}

// AppendBinary appends the encoded receipt, ReceiptSize bytes.
func (r *Receipt) AppendBinary(b []byte) ([]byte, error) {
	return append(r.body(b), r.Signature[:]...), nil
}

// UnmarshalBinary decodes exactly one receipt. It does not check the
// signature; see [Receipt.Verify].
func (r *Receipt) UnmarshalBinary(b []byte) error {
	if len(b) != ReceiptSize || string(b[:16]) != receiptTag || b[63] != 0 {
		return ErrMessage
	}
	*r = Receipt{
		MDMS: KeyID(b[16:48]), Meter: MeterID(b[48:63]),
		Segment: binary.BigEndian.Uint32(b[64:]), Length: binary.BigEndian.Uint64(b[68:]), Digest: Digest(b[76:108]),
		Millis: int64(binary.BigEndian.Uint64(b[108:])), Signature: Signature(b[116:]),
	}
	return nil
}

// Sign fills in the MDMS key id and the signature.
func (r *Receipt) Sign(key crypto.Signer) (err error) {
	r.MDMS, r.Signature, err = signMessage(key, func(id KeyID) []byte { r.MDMS = id; return r.body(nil) })
	return err
}

// Verify returns nil if pub, whose id is the receipt's, signed the receipt;
// otherwise ErrMessageSignature.
func (r *Receipt) Verify(pub *ecdsa.PublicKey) error {
	return verifyMessage(pub, r.MDMS, r.Signature, r.body(nil))
}

// Challenge asks a meter for a fresh seal. The accepted nonce becomes a
// specific record, so the next seal proves that the meter was alive after the
// issue time.
//
//	off size field
//	  0   16 tag "meterseal:chal:1"
//	 16   15 meter id
//	 31    1 zero
//	 32   32 nonce
//	 64    8 issue time, ms since the Unix epoch, UTC
//	 72   32 MDMS key id
//	104   64 ES256 over SHA-256 of all bytes before it, r || s
type Challenge struct {
	Meter     MeterID
	Nonce     [32]byte
	Issued    int64 // ms since the Unix epoch
	MDMS      KeyID
	Signature Signature
}

func (c *Challenge) body(b []byte) []byte {
	b = append(b, challengeTag...)
	b = append(append(b, c.Meter[:]...), 0)
	b = append(b, c.Nonce[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Issued))
	return append(b, c.MDMS[:]...)
}

// AppendBinary appends the encoded challenge, ChallengeSize bytes.
func (c *Challenge) AppendBinary(b []byte) ([]byte, error) {
	return append(c.body(b), c.Signature[:]...), nil
}

// UnmarshalBinary decodes exactly one challenge. It does not check the
// signature; see [Challenge.Verify].
func (c *Challenge) UnmarshalBinary(b []byte) error {
	if len(b) != ChallengeSize || string(b[:16]) != challengeTag || b[31] != 0 {
		return ErrMessage
	}
	*c = Challenge{
		Meter: MeterID(b[16:31]), Nonce: [32]byte(b[32:64]), Issued: int64(binary.BigEndian.Uint64(b[64:])),
		MDMS: KeyID(b[72:104]), Signature: Signature(b[104:]),
	}
	return nil
}

// Sign fills in the MDMS key id and the signature.
func (c *Challenge) Sign(key crypto.Signer) (err error) {
	c.MDMS, c.Signature, err = signMessage(key, func(id KeyID) []byte { c.MDMS = id; return c.body(nil) })
	return err
}

// Verify returns nil if pub, whose id is the challenge's, signed the
// challenge; otherwise ErrMessageSignature.
func (c *Challenge) Verify(pub *ecdsa.PublicKey) error {
	return verifyMessage(pub, c.MDMS, c.Signature, c.body(nil))
}

func signMessage(key crypto.Signer, body func(KeyID) []byte) (KeyID, Signature, error) {
	pub, _ := key.Public().(*ecdsa.PublicKey)
	id, err := KeyIDOf(pub)
	if err != nil {
		return KeyID{}, Signature{}, err
	}
	sig, err := Sign(key, sha256.Sum256(body(id)))
	return id, sig, err
}

func verifyMessage(pub *ecdsa.PublicKey, want KeyID, sig Signature, body []byte) error {
	id, err := KeyIDOf(pub)
	if err != nil {
		return err
	}
	if id != want || !sig.Verify(pub, sha256.Sum256(body)) {
		return ErrMessageSignature
	}
	return nil
}
