package wire

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/hub"
)

// Proto encodes watchroute.v1.WatchResponse.
var Proto hub.Codec = protoCodec{name: "proto"}

// ProtoText is Proto, but that JSON objects are watchroute.v1.Json, as they were
// written, instead of google.protobuf.Struct.
var ProtoText hub.Codec = protoCodec{name: "proto-text", text: true}

// Typed encodes a contract's mirror of WatchResponse, in which `data` is the
// message itself instead of a google.protobuf.Any that holds it. All else has the
// same field numbers, so the bytes are the same.
var Typed hub.Codec = protoCodec{name: "typed", typed: true}

type protoCodec struct {
	name        string
	typed, text bool
}

func (c protoCodec) Name() string { return c.name }

// Joins: a message that is written twice is one message, whose last revision and
// token count and whose events add up (protobuf.dev, "Last One Wins").
func (c protoCodec) Joins() bool { return true }

// Field numbers of the contract.
const (
	responseRevision, responseToken, responseEvents                = 1, 2, 4
	batchEvents                                                    = 1
	eventState, eventCause, eventResource, eventUpdated            = 1, 2, 3, 4
	eventBase, eventCoalesced                                      = 5, 6
	resourceName, resourceUID, resourceRevision, resourceCreate    = 1, 2, 3, 4
	resourceEtag, resourceLabels, resourceCreated, resourceUpdated = 5, 6, 7, 8
	resourceData                                                   = 9
	anyURL, anyValue                                               = 1, 2
	maskPaths                                                      = 1
	timestampSeconds, timestampNanos                               = 1, 2
	mapKey, mapValue                                               = 1, 2
	jsonText                                                       = 1
	sessionID, sessionWatch, sessionAlso, sessionMore              = 1, 2, 5, 6
)

// Append appends the message's encoding.
func (c protoCodec) Append(dst []byte, m *hub.Message) []byte {
	if m.Kind != hub.Events {
		out, err := proto.MarshalOptions{}.MarshalAppend(dst, control(m))
		if err != nil {
			panic("wire: a control message does not encode: " + err.Error()) // only invalid UTF-8 could do that
		}
		return out
	}
	dst = appendUint(dst, responseRevision, m.Revision)
	dst = appendString(dst, responseToken, m.Token)
	return nested(dst, responseEvents, func(dst []byte) []byte {
		for i := range m.Events {
			dst = nested(dst, batchEvents, func(dst []byte) []byte { return c.event(dst, &m.Events[i]) })
		}
		return dst
	})
}

func (c protoCodec) event(dst []byte, e *hub.Event) []byte {
	dst = appendUint(dst, eventState, uint64(e.State()))
	dst = appendUint(dst, eventCause, uint64(e.Cause))
	dst = nested(dst, eventResource, func(dst []byte) []byte {
		dst = appendString(dst, resourceName, e.Name)
		if e.Value == nil {
			return appendUint(dst, resourceRevision, e.Revision)
		}
		r := e.Value.Record()
		dst = appendMeta(dst, r)
		return nested(dst, resourceData, func(dst []byte) []byte {
			if c.text && e.Value.Schema().Type() == "" {
				dst = appendString(dst, anyURL, jsonURL)
				return nested(dst, anyValue, func(dst []byte) []byte { return appendBytes(dst, jsonText, e.Value.JSON()) })
			}
			url, value := e.Value.Wire()
			if c.typed {
				return append(dst, value...)
			}
			dst = appendString(dst, anyURL, url)
			return appendBytes(dst, anyValue, value)
		})
	})
	if len(e.Updated) > 0 {
		dst = nested(dst, eventUpdated, func(dst []byte) []byte {
			for _, path := range e.Updated {
				dst = protowire.AppendTag(dst, maskPaths, protowire.BytesType)
				dst = protowire.AppendString(dst, path)
			}
			return dst
		})
		dst = appendUint(dst, eventBase, e.Base)
	}
	return appendUint(dst, eventCoalesced, uint64(e.Coalesced))
}

func appendMeta(dst []byte, r *changelog.Record) []byte {
	dst = appendString(dst, resourceUID, r.UID)
	dst = appendUint(dst, resourceRevision, r.Revision)
	dst = appendUint(dst, resourceCreate, r.CreateRevision)
	dst = appendString(dst, resourceEtag, r.ETag())
	for k, v := range r.Labels {
		dst = nested(dst, resourceLabels, func(dst []byte) []byte {
			return appendString(appendString(dst, mapKey, k), mapValue, v)
		})
	}
	dst = appendTime(dst, resourceCreated, r.CreateTime)
	return appendTime(dst, resourceUpdated, r.Time)
}

func appendTime(dst []byte, field protowire.Number, t time.Time) []byte {
	return nested(dst, field, func(dst []byte) []byte {
		dst = appendUint(dst, timestampSeconds, uint64(t.Unix()))
		return appendUint(dst, timestampNanos, uint64(t.Nanosecond()))
	})
}

func appendUint(dst []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, field, protowire.VarintType), v)
}

func appendString(dst []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, field, protowire.BytesType), s)
}

func appendBytes(dst []byte, field protowire.Number, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	return protowire.AppendBytes(protowire.AppendTag(dst, field, protowire.BytesType), b)
}

// nested appends a message field whose body is written by f: it leaves one byte
// for the length and moves the body where it needs more.
func nested(dst []byte, field protowire.Number, f func([]byte) []byte) []byte {
	dst = append(protowire.AppendTag(dst, field, protowire.BytesType), 0)
	start := len(dst)
	dst = f(dst)
	n := len(dst) - start
	if n < 0x80 {
		dst[start-1] = byte(n)
		return dst
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	for range more {
		dst = append(dst, 0)
	}
	copy(dst[start+more:], dst[start:start+n])
	protowire.AppendVarint(dst[:start-1], uint64(n))
	return dst
}

// control gives a message without events as the contract has it.
func control(m *hub.Message) *watchroutev1.WatchResponse {
	r := &watchroutev1.WatchResponse{Revision: m.Revision, ResumeToken: m.Token}
	switch m.Kind {
	case hub.Started:
		r.Body = &watchroutev1.WatchResponse_Started{Started: &watchroutev1.Started{Mode: m.Mode, SilenceLimit: durationpb.New(m.SilenceLimit)}}
	case hub.SnapshotEnd:
		r.Body = &watchroutev1.WatchResponse_SnapshotEnd{SnapshotEnd: &watchroutev1.SnapshotEnd{}}
	case hub.Bookmark:
		r.Body = &watchroutev1.WatchResponse_Bookmark{Bookmark: &watchroutev1.Bookmark{}}
	case hub.Reset:
		r.Body = &watchroutev1.WatchResponse_Reset_{Reset_: &watchroutev1.Reset{Reason: m.Reason}}
	case hub.Drain:
		r.Body = &watchroutev1.WatchResponse_Drain{Drain: &watchroutev1.Drain{ReconnectAfter: durationpb.New(m.ReconnectAfter)}}
	case hub.Closed:
		r.Body = &watchroutev1.WatchResponse_Closed{Closed: Status(m.Err).Proto()}
	}
	return r
}

// SessionProto appends a SessionResponse that carries an encoded WatchResponse, for
// one watch or for several.
func SessionProto(dst []byte, watchIDs []string, response []byte) []byte {
	dst = appendString(dst, sessionID, watchIDs[0])
	dst = protowire.AppendTag(dst, sessionWatch, protowire.BytesType)
	dst = protowire.AppendBytes(dst, response)
	for _, id := range watchIDs[1:] {
		dst = appendString(dst, sessionAlso, id)
	}
	return dst
}

// SessionProtoMore appends an encoded SessionResponse to the `more` of the one that
// dst ends with.
func SessionProtoMore(dst, response []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, sessionMore, protowire.BytesType), response)
}
