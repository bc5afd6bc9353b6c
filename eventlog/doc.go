// Package eventlog is the contract between a meter and its MDMS: the event
// log, the seal over it, and the messages that travel with both.
//
// A meter appends records to a segment file. Its secure element signs the
// SHA-256 of the file from the first byte to the end of the last specific
// event; the result is the [Seal]. A [Bundle] carries log bytes and seal to
// the MDMS, which answers with a [Receipt] or asks with a [Challenge].
//
// Everything on the wire is big-endian. Every decoder is strict: each length
// is checked before use, unused bytes must be zero, trailing bytes are an
// error, and what decodes encodes to the same bytes. The formats are normative
// in docs/wire.md. The origin of the scheme is JP 2024-155626 A, claims 1-4.
package eventlog
