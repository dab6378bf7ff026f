// Package sources turns the events of brokers into changes of collections.
//
// A [Source] is what a connector makes of a watchroute.v1.Source: it reads one broker and
// gives events to its [Sink]. There they are decoded, mapped and written to the log, in
// their order and in one durable step with the positions that they came from, so that
// each takes effect once whatever is killed when. [Manager] runs the sources of
// system.sources, writes system.source-status, and keeps what cannot be applied in
// system.deadletters.
//
// The way of an event:
//
//	broker -> connector (kafka/, nats/, ...) -> Sink.Take -> decode -> map -> Log.WriteAll
//	                                                  \-> dead letter -----/
//
// A new connector is a message in proto/watchroute/v1/source.proto, a folder here with a
// Connector, a line in connectors/, and a Publisher for the suite in e2e/sourcetest.
package sources
