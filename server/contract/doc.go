// Package contract binds services that users wrote themselves to the engine, by
// their descriptors: whoever declares a message with the option
// (watchroute.v1.resource) and a service with typed Get, List, Watch, Put and
// Delete methods for it gets that service served without a line of Go.
//
// Contracts are compiled in (their generated Go package is linked) or read at start
// from descriptor sets that `buf build -o FILE` makes. Each method is checked once,
// by [Load]; one that cannot be bound is an error that names file, method and
// reason, so that a server does not start with half a contract.
//
// # What can be bound
//
// A service is bound if one of its methods mentions, in its request or response, a
// message with the option. Then all of its methods must be:
//
//   - named Get..., List..., Watch..., Put... or Delete...; Watch streams its
//     responses, nothing else streams;
//   - answered by the generic message (watchroute.v1.Resource, ListResponse,
//     WatchResponse, WriteResponse) or by a mirror of it: a message whose every field
//     has the name, number, type and cardinality of the generic one's, message by
//     message, with the resource's message in place of google.protobuf.Any. Mirrors
//     may leave fields out, but for these: Resource name, revision, data;
//     ListResponse resources, next_page_token, revision; WatchResponse revision,
//     resume_token, started, events, snapshot_end, reset; Started mode; EventBatch
//     events; Event state, resource (and updated_fields, base_revision, where the
//     request has delta); WriteResponse revision;
//   - asked by a request whose fields are named and typed as the generic request's;
//     their numbers do not matter, and any may be left out. The resource is named by
//     a string field with the name of the option's id_field, which holds the id
//     alone, or by `name`, which holds COLLECTION/ID. Get and Delete need one of the
//     two; a Watch that has one watches that resource, any other Watch the
//     collection. Put has `resource`, a mirror of Resource or Resource itself, or one
//     field of the resource's message; the id may then stand in the request, in the
//     name or in the message, as long as they agree.
//
// The collection is that of the one resource message that the method mentions;
// where it mentions none or several, of the one it is named after (GetOrder,
// ListOrders), or of the only one of the service.
//
// Because a mirror has the same wire form but for the value, the hub's frames serve
// typed watches with the message's bytes in place of google.protobuf.Any.
//
// HTTP routes come from google.api.http. Watches are GET routes, as browsers can
// open nothing else.
//
// Everything is immutable after Load, blocks on nothing and starts no goroutine. To
// test against it, implement [Backend] and register a Set on a grpc.Server.
package contract
