-- Schema 2: requests to send a segment again are counted for each courier, and
-- what is kept of refused bundles is bounded for all of them together.

-- The last seal that each courier brought and that covers other bytes than the
-- known ones: it fits itself, so that either somebody moved it or the meter has
-- two histories.
CREATE TABLE rereads (
  tenant  TEXT   NOT NULL,
  meter   TEXT   NOT NULL,
  courier TEXT   NOT NULL,
  asked   BIGINT NOT NULL, -- when the courier was last asked to send a segment again from offset 0
  seal    BLOB   NOT NULL, -- SHA-256 of the seal
  seen    BIGINT NOT NULL, -- when it was brought
  PRIMARY KEY (tenant, meter, courier)
) WITHOUT ROWID;
ALTER TABLE heads DROP COLUMN reread;

-- Sums are taken from the index alone.
DROP INDEX rejected_by_courier;
CREATE INDEX rejected_size ON rejected (tenant, courier, size);
