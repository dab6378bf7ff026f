// Package schema says what the values of a collection are: how a written value
// is checked and stored, how a stored one reads as JSON, as google.protobuf.Any
// and in a CEL filter, and how two of them differ.
//
// A collection has a schema where a message carries the option
// (watchroute.v1.resource); its values are then that message, stored in
// protobuf's wire form. Every other collection is schemaless: its values are JSON
// objects, stored as they were written but for the white space.
//
// [Registry] and [Schema] are built once and read by many. [Filter], [Mask],
// [Residual], [Redaction] and [Projection] are immutable. A [Value] decodes lazily, each
// form at most once, and it and a [Rule] are safe for concurrent use; the bytes that a
// Value hands out are shared and must not be changed.
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
// (data.n + 1.0); an integer that a double cannot hold is an int. Macros go through the
// keys of a map in order.
//
// Filters see the whole value, whatever a mask leaves of it. They come from
// strangers: their nesting is bounded, messages cannot be constructed, the pattern of
// matches() must be a constant, and an evaluation that takes more than about 10 ms is
// given up, by counting, so that the same filter always gives the same result for the
// same value; it does not match then.
//
// # Access rules
//
// A [Rule] is a CEL expression over what a filter knows and
//
//	auth     who asks: sub, tenant, method (strings), roles, scopes (lists of
//	         strings), claims (a map), operator (a bool)
//
// and, where it is about writes,
//
//	old      the present value, of data's type; null where there is none
//	request  the call: verb, transport, address (strings), time (a timestamp)
//
// In a rule for writes, data is the value to be written, or, where it is to be
// deleted, the present one. A claim that the caller does not have makes what reads it
// fail, as an absent field of data does; has(auth.claims.x) tells.
//
// [Rule.For] gives what is left of a rule for one caller: often nothing that looks at
// a value, or one comparison that values can be found by. "warehouse" in auth.roles
// || data.customer_id == auth.sub lets the warehouse see everything, and everybody
// else what has their name on it.
//
// A [Redaction] hides fields from a reader. Rules see the whole value all the same;
// filters, masks and everything else see what is left.
//
// # Projections
//
// A [Projection] makes an object of a value, each field of which is an expression over
// what a filter knows: {"status": "data.status", "item_count": "size(data.items)"}. It
// is computed from what a redaction left. Arithmetic does not mix types, with a schema
// either: double(data.total.units) + double(data.total.nanos) / 1e9.
package schema
