// Package resolver lets gRPC find the addresses of a service in a collection that is
// watched: an address that appears is used at once, one that goes is left at once.
//
//	builder := &resolver.Builder{Client: client}
//	conn, err := grpc.NewClient("watchroute:///endpoints/billing", grpc.WithResolvers(builder), ...)
//
// The target is COLLECTION, each of whose resources is an address, or COLLECTION/SERVICE
// for those of a service: unless the Builder says otherwise, a value is an object such as
//
//	{"service": "billing", "address": "10.0.0.7:9090"}
//
// While the watch comes back the last addresses stay in use. A watch that fails for good is
// reported to the connection, which goes on with the last addresses, too. Each connection
// has one watch, which ends when the connection is closed; the Client is the caller's.
package resolver
