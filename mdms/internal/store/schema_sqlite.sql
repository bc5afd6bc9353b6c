-- Schema 1 for SQLite. Every primary key begins with tenant and meter, so that
-- the meter can be the distribution key elsewhere. Times are ms since the Unix
-- epoch, UTC. meter is the text form of the meter id. Counters are the bits of
-- an unsigned 64-bit number: equal or not, never compared by size in SQL.

-- The registry: who may send, with which keys, and what it has to seal.
CREATE TABLE meters (
  tenant   TEXT   NOT NULL,
  meter    TEXT   NOT NULL,
  enrolled BIGINT NOT NULL,
  PRIMARY KEY (tenant, meter)
) WITHOUT ROWID;

-- The last entry is what the meter has to follow; earlier ones may still stand
-- in older segments.
CREATE TABLE meter_policies (
  tenant  TEXT   NOT NULL,
  meter   TEXT   NOT NULL,
  entry   BIGINT NOT NULL, -- from 1
  version BIGINT NOT NULL,
  policy  TEXT   NOT NULL, -- as eventlog.ParsePolicy reads it
  added   BIGINT NOT NULL,
  PRIMARY KEY (tenant, meter, entry)
) WITHOUT ROWID;

CREATE TABLE meter_keys (
  tenant       TEXT   NOT NULL,
  meter        TEXT   NOT NULL,
  key_id       BLOB   NOT NULL,
  spki         BLOB   NOT NULL, -- SubjectPublicKeyInfo, DER
  scheme       BIGINT NOT NULL,
  counter      BIGINT NOT NULL, -- of the secure element when the key was enrolled
  last_counter BIGINT NOT NULL, -- last one that is accepted, 0 = no bound
  first_seq    BIGINT NOT NULL, -- records that it may seal, 0 = no bound
  last_seq     BIGINT NOT NULL,
  added        BIGINT NOT NULL,
  revoked      BIGINT NOT NULL, -- 0 = not revoked
  PRIMARY KEY (tenant, meter, key_id)
) WITHOUT ROWID;

-- A key belongs to one meter. Small and looked up by key: a reference table.
CREATE TABLE key_owners (
  tenant TEXT NOT NULL,
  key_id BLOB NOT NULL,
  meter  TEXT NOT NULL,
  PRIMARY KEY (tenant, key_id)
) WITHOUT ROWID;

-- One row per meter. Whoever changes what a verdict rests on, here or in
-- another table, raises rev in the same transaction.
CREATE TABLE heads (
  tenant   TEXT   NOT NULL,
  meter    TEXT   NOT NULL,
  rev      BIGINT NOT NULL,
  segment  BIGINT NOT NULL, -- newest segment with a verified seal, 0 = none
  since    BIGINT NOT NULL, -- when the head last moved, or the meter was enrolled
  stale    BIGINT NOT NULL, -- 1 = that is too long ago, and the alert is raised
  tail     BIGINT NOT NULL, -- unsigned records that were seen beyond the head
  findings BLOB   NOT NULL, -- of the evidence that moved it last, JSON
  reread   BIGINT NOT NULL, -- when a segment was last asked for again from offset 0
  PRIMARY KEY (tenant, meter)
) WITHOUT ROWID;

-- The verified prefix of each segment.
CREATE TABLE segments (
  tenant   TEXT   NOT NULL,
  meter    TEXT   NOT NULL,
  segment  BIGINT NOT NULL,
  length   BIGINT NOT NULL, -- verified bytes
  closed   BIGINT NOT NULL, -- 1 = they end with SEGMENT_END
  midstate BLOB   NOT NULL, -- SHA-256 state after them: a cache, never believed
  head     BLOB   NOT NULL, -- verify.Head without the midstate, JSON
  PRIMARY KEY (tenant, meter, segment)
) WITHOUT ROWID;

-- Ranges of segments that the store does not hold, or not to their end.
CREATE TABLE gaps (
  tenant     TEXT   NOT NULL,
  meter      TEXT   NOT NULL,
  first      BIGINT NOT NULL, -- segment
  last       BIGINT NOT NULL, -- segment
  start      BIGINT NOT NULL, -- verified bytes that are held of a single segment
  claimed_by TEXT   NOT NULL, -- who says that they are gone: meter or courier
  found      BIGINT NOT NULL,
  PRIMARY KEY (tenant, meter, first)
) WITHOUT ROWID;

-- Verified log bytes exactly as received. Written once, never changed.
CREATE TABLE log_chunks (
  tenant   TEXT   NOT NULL,
  meter    TEXT   NOT NULL,
  segment  BIGINT NOT NULL,
  start    BIGINT NOT NULL, -- offset of the first byte
  bytes    BLOB   NOT NULL,
  received BIGINT NOT NULL,
  PRIMARY KEY (tenant, meter, segment, start)
);

-- Every seal that verified.
CREATE TABLE seals (
  tenant   TEXT   NOT NULL,
  meter    TEXT   NOT NULL,
  key_id   BLOB   NOT NULL,
  counter  BIGINT NOT NULL, -- 0 in scheme digest
  segment  BIGINT NOT NULL,
  length   BIGINT NOT NULL,
  digest   BLOB   NOT NULL,
  seal     BLOB   NOT NULL,
  received BIGINT NOT NULL,
  PRIMARY KEY (tenant, meter, key_id, counter, segment, length, digest)
) WITHOUT ROWID;

-- Specific records inside the signed range: what people ask for.
CREATE TABLE events (
  tenant  TEXT   NOT NULL,
  meter   TEXT   NOT NULL,
  segment BIGINT NOT NULL,
  seq     BIGINT NOT NULL,
  class   BIGINT NOT NULL,
  code    BIGINT NOT NULL,
  profile BIGINT NOT NULL,
  at      BIGINT NOT NULL, -- by the meter's clock
  boot    BIGINT NOT NULL,
  uptime  BIGINT NOT NULL,
  flags   BIGINT NOT NULL,
  payload BLOB   NOT NULL,
  PRIMARY KEY (tenant, meter, segment, seq)
) WITHOUT ROWID;

-- Refused bundles that the meter's own signature speaks against it with, such
-- as the second of two histories, beside the seal that stood. What that seal
-- covers is in log_chunks.
CREATE TABLE proofs (
  tenant   TEXT   NOT NULL,
  meter    TEXT   NOT NULL,
  verdict  TEXT   NOT NULL,
  segment  BIGINT NOT NULL,
  length   BIGINT NOT NULL, -- that the bundle's seal signs
  digest   BLOB   NOT NULL, -- that the bundle's seal signs
  bundle   BLOB   NOT NULL, -- as received
  seal     BLOB   NOT NULL, -- ours at that time, or empty
  received BIGINT NOT NULL,
  PRIMARY KEY (tenant, meter, verdict, segment, length, digest)
);

-- An alert that is laid on the meter and not closed is part of its verdict.
CREATE TABLE alerts (
  tenant  TEXT   NOT NULL,
  meter   TEXT   NOT NULL,
  alert   TEXT   NOT NULL, -- derived from kind and subject: one row each
  kind    TEXT   NOT NULL, -- a verdict, or the code of a finding
  subject TEXT   NOT NULL,
  charge  TEXT   NOT NULL, -- on whom it is laid: meter or courier
  detail  TEXT   NOT NULL,
  status  BIGINT NOT NULL, -- 1 open, 2 acknowledged, 3 closed
  count   BIGINT NOT NULL,
  opened  BIGINT NOT NULL,
  latest  BIGINT NOT NULL,
  closed  BIGINT NOT NULL,
  PRIMARY KEY (tenant, meter, alert)
) WITHOUT ROWID;
CREATE INDEX alerts_open ON alerts (tenant, meter, alert) WHERE status <> 3;

CREATE TABLE challenges (
  tenant  TEXT   NOT NULL,
  meter   TEXT   NOT NULL,
  nonce   BLOB   NOT NULL,
  issued  BIGINT NOT NULL,
  reason  TEXT   NOT NULL,
  message BLOB   NOT NULL,
  status  BIGINT NOT NULL, -- 1 outstanding, 2 overdue, 3 answered, 4 a later one was answered
  settled BIGINT NOT NULL, -- when it was answered, 0 = not
  PRIMARY KEY (tenant, meter, nonce)
) WITHOUT ROWID;
CREATE INDEX challenges_open ON challenges (tenant, meter, issued) WHERE status < 3;

CREATE TABLE receipts (
  tenant    TEXT   NOT NULL,
  meter     TEXT   NOT NULL,
  segment   BIGINT NOT NULL,
  issued    BIGINT NOT NULL,
  message   BLOB   NOT NULL,
  confirmed BIGINT NOT NULL, -- when the meter's RECEIPT record was verified, 0 = not yet
  PRIMARY KEY (tenant, meter, segment)
) WITHOUT ROWID;
CREATE INDEX receipts_open ON receipts (tenant, meter, segment) WHERE confirmed = 0;

-- Verdicts that no valid signature stands behind: the courier's, not the meter's.
CREATE TABLE couriers (
  tenant  TEXT   NOT NULL,
  meter   TEXT   NOT NULL, -- as claimed; '' = the bundle did not parse
  courier TEXT   NOT NULL,
  verdict TEXT   NOT NULL,
  count   BIGINT NOT NULL,
  latest  BIGINT NOT NULL,
  PRIMARY KEY (tenant, meter, courier, verdict)
) WITHOUT ROWID;

-- Refused bundles, up to a quota per courier.
CREATE TABLE rejected (
  tenant   TEXT   NOT NULL,
  meter    TEXT   NOT NULL, -- as claimed
  courier  TEXT   NOT NULL,
  digest   BLOB   NOT NULL, -- SHA-256 of the body
  reason   TEXT   NOT NULL,
  size     BIGINT NOT NULL,
  body     BLOB   NOT NULL,
  received BIGINT NOT NULL,
  PRIMARY KEY (tenant, meter, courier, digest)
);
CREATE INDEX rejected_by_courier ON rejected (tenant, courier);

CREATE TABLE audit (
  tenant TEXT   NOT NULL,
  meter  TEXT   NOT NULL,
  entry  BIGINT NOT NULL, -- from 1, per meter
  at     BIGINT NOT NULL,
  action TEXT   NOT NULL,
  detail TEXT   NOT NULL,
  PRIMARY KEY (tenant, meter, entry)
) WITHOUT ROWID;
