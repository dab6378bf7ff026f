// Package webhook is the connector of CloudEvents 1.0 that are posted over HTTP.
//
// A [Source] is the handler of /v1/sources/SOURCE_ID. It serves for as long as Run runs,
// and answers with 503 and Retry-After otherwise. A request is
//
//   - structured (application/cloudevents+json),
//   - binary (ce-* headers), or
//   - a batch (application/cloudevents-batch+json), which is taken or refused as a whole,
//
// and is answered with 202 when all of its events are durable. What comes while others are
// being made durable waits, and is taken together. Callers that were not answered with 202
// send the same again: an event's `source` and `id` tell it from all others, so it takes
// effect once. The events of one caller that waits for its answers are taken in its order;
// those of requests that are under way at once are in none.
//
// Callers show a token, sign the body, or both, whatever the source has a secret for. A
// signature says nothing of the headers, so a binary event is taken with a token only.
// Secrets are read when Run begins and every few seconds.
//
// No request holds more than MaxBytes, nor all together more than MaxHeldBytes: what does
// not fit is refused with 413 and 429.
//
// Tests call ServeHTTP beside a Run with a Sink of their own.
package webhook
