// Package schema says what the values of a collection are: how a written value
// is checked and stored, how a stored one reads as JSON, as google.protobuf.Any
// and in a CEL filter, and how two of them differ.
//
// A collection has a schema where a message carries the option
// (watchroute.v1.resource); its values are then that message, stored in
// protobuf's wire form. Every other collection is schemaless: its values are JSON
// objects, stored as they were written but for the white space.
//
// [Registry] and [Schema] are built once and read by many. [Filter] and [Mask]
// are immutable. A [Value] decodes lazily, each form at most once, and is safe for
// concurrent use; the bytes it hands out are shared and must not be changed.
// Nothing here starts a goroutine, does I/O, or blocks other than on another
// goroutine that is computing the same form of the same value.
//
// Errors that a client may see are *resource.Error, with the reasons InvalidValue,
// InvalidFilter and InvalidMask. Nothing that was stored makes a Value fail: a
// record that its schema cannot read is an empty one.
//
// # Filters
//
// A filter is a CEL expression over
//
//	data         the value: the message, or a map where there is no schema
//	name         string, such as orders/42
//	id           string, such as 42
//	labels       map(string, string)
//	revision     int
//	update_time  timestamp
//
// Fields have their names in the .proto file. Enumeration constants are named as
// seen from the package of the message, with the enumeration's name before them:
// data.status == OrderStatus.SHIPPED. The order of numbers is compared across their
// types, and so is equality, where a type is known at evaluation only, as with a
// schemaless value (data.n == 1). The numbers of a schemaless value are doubles, as
// in google.protobuf.Struct, so arithmetic on them needs double literals
// (data.n + 1.0); an integer that a double cannot hold is an int.
//
// Filters see the whole value, whatever a mask leaves of it. They come from
// strangers: their nesting is bounded, messages cannot be constructed, the pattern of
// matches() must be a constant, and an evaluation that takes more than about 10 ms is
// given up, by counting, so that the same filter always gives the same result for the
// same value; it does not match then.
package schema
