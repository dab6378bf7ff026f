// Package proto has the proto files that a contract imports, for those who
// compile one without a registry: Watchroute's own, as they stand in this
// folder, and google/api and google/rpc, printed from the descriptors that the
// Go runtime links in, so that they are always the version that the generated
// code runs against. The printed ones carry no comments: descriptors hold none.
// The files of google.protobuf are left out: every compiler brings its own.
//
// The same files come in every call. Nothing blocks but [Write], on the disk.
package proto
