// Package device is the meter: it turns events into log records, has its
// secure element seal the log, and offers readings and evidence over ECHONET
// Lite (class 0x0288).
//
// The path of an event is [Meter.Record]: the record is appended and made
// durable; if the event is specific, the digest of the log goes to the secure
// element, and its signature becomes the seal (JP 2024-155626 A, claims 1 and
// 2). The order is never another one: a seal that covers bytes which a power
// cut takes away would be evidence against an honest meter.
//
// A secure element that is slow, hung or gone delays seals and nothing else:
// events are recorded, registers are read, answers are sent. At most one
// signature is asked for per specific record; after a failure a new specific
// record comes first, so that the counter of the secure element never runs
// ahead of the log.
//
// One goroutine talks to the secure element, that of [Meter.Run]. Records come
// from any goroutine and share its seals.
package device
