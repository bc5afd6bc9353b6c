package eventlog

import (
	"crypto/ecdsa"
	"fmt"
)

// terms is what a segment is made under.
type terms struct {
	pub    *ecdsa.PublicKey
	key    KeyID
	scheme Scheme
	policy Policy
}

func newTerms(pub *ecdsa.PublicKey, scheme Scheme, policy Policy) (terms, error) {
	key, err := KeyIDOf(pub)
	if err != nil {
		return terms{}, err
	}
	if scheme != SchemeDigest && scheme != SchemeCounter {
		return terms{}, fmt.Errorf("eventlog: a log cannot be sealed in %s", scheme)
	}
	return terms{pub, key, scheme, NewPolicy(policy.Version, policy.Specific...)}, nil
}

// with returns the terms after a change.
func (t terms) with(c *Change) (terms, error) {
	if c.Key != nil {
		t.pub, t.scheme = c.Key, c.Scheme
	}
	if c.Policy != nil {
		t.policy = *c.Policy
	}
	return newTerms(t.pub, t.scheme, t.policy)
}

// named is what a header says of the terms.
type named struct {
	key     KeyID
	scheme  Scheme
	version uint32
	policy  Digest
}

func (h *Header) terms() named {
	return named{h.Key, h.Scheme, h.PolicyVersion, h.PolicyDigest}
}

func (t *terms) named() named {
	return named{t.key, t.scheme, t.policy.Version, t.policy.Digest()}
}

// follow returns the terms of the segment after one that was made under old
// and ended at h: those that its KEY_CHANGE and POLICY_CHANGE announce, else
// the old ones. Both parts must be among the terms given. ErrTerms: they are
// not.
func follow(old named, h *head, among []terms) (terms, error) {
	want := old
	if h.keyChange != nil {
		want.key, want.scheme = h.keyChange.Key, h.keyChange.Scheme
	}
	if h.policyChange != nil {
		want.version, want.policy = h.policyChange.Version, h.policyChange.New
	}
	var pub *ecdsa.PublicKey
	var policy *Policy
	for i := range among {
		t := &among[i]
		if t.key == want.key && t.scheme == want.scheme {
			pub = t.pub
		}
		if t.policy.Version == want.version && t.policy.Digest() == want.policy {
			policy = &t.policy
		}
	}
	if pub == nil {
		return terms{}, fmt.Errorf("%w: the next segment is for key %s in scheme %s", ErrTerms, want.key, want.scheme)
	}
	if policy == nil {
		return terms{}, fmt.Errorf("%w: the next segment is for specific set %s of version %d", ErrTerms, want.policy, want.version)
	}
	return terms{pub, want.key, want.scheme, *policy}, nil
}
