// Package e2e tests Watchroute as its users meet it: the binary as a process of
// its own, over real sockets, with real clients: curl, grpcurl, Chromium,
// connect-web in Node, the generated Go stubs, the command line.
//
// It is a module of its own so that what it needs stays out of the product.
//
//	process/    builds, starts, kills and stops the binary
//	purchases/  reads the real input and says which orders it makes
//	client/     a plain client for every transport
//	picture/    what a watcher knows, folded from what it was told, and counted
//	brokers/    starts real brokers and databases
//	sourcetest/ what every connector is tested with
//	shop/       services on Kafka, and the pages of their customers: `make run-shop`
//	browser/    drives Chromium; its npm folder also bundles the pages
//	conformance/ what every client is tested with
//	clientpage/ the TypeScript client in tabs of Chromium
//	examples/   those of clients/examples
//	quickstart/ follows docs/quickstart.md
//
// A test that cannot run says why: `go test -v` shows it as SKIP with the
// reason. Processes are started on free loopback ports outside the range that the
// kernel gives to clients, so that one can come back on the same port.
//
// Tests run one after the other: most of them want the whole machine. The heavy
// ones (purchases, crash, drain under load) run the binary as users build it, the
// others the one with the race detector, whose findings fail the test. With
// `-short` the heavy ones are cut down, not left out.
package e2e
