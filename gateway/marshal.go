package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/internal/wire"
)

// marshaler is the JSON of the generated handlers: ProtoJSON, but that `data` is
// plain JSON with its type beside it.
type marshaler struct{ schemas *schema.Registry }

// ContentType implements runtime.Marshaler.
func (marshaler) ContentType(any) string { return "application/json" }

// Marshal implements runtime.Marshaler, for the answers of the contract.
func (m marshaler) Marshal(v any) ([]byte, error) {
	msg, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("gateway: no JSON of a %T", v)
	}
	return appendAnswer(nil, m.schemas, msg), nil
}

// Unmarshal implements runtime.Marshaler. Bodies go through NewDecoder.
func (marshaler) Unmarshal([]byte, any) error {
	return errors.New("gateway: the marshaler reads bodies only")
}

// NewEncoder implements runtime.Marshaler.
func (m marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		b, err := m.Marshal(v)
		if err == nil {
			_, err = w.Write(b)
		}
		return err
	})
}

// NewDecoder implements runtime.Marshaler. r is the body of a request that prepare
// made. The error goes to the call too: the generated handler keeps only its text.
func (m marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		b, ok := r.(*body)
		if !ok {
			return fmt.Errorf("gateway: a body of type %T", r)
		}
		var err error
		switch into := v.(type) {
		case **watchroutev1.Resource:
			*into, err = readResource(m.schemas, "resource", b.text, b.call.path)
		case *watchroutev1.WriteRequest:
			var req *watchroutev1.WriteRequest
			if req, err = readWrite(m.schemas, b.text, b.call.path); err == nil {
				proto.Merge(into, req)
			}
		default:
			err = fmt.Errorf("gateway: no JSON for a %T", v)
		}
		b.call.err = err
		return err
	})
}

// appendAnswer appends an answer's JSON and a newline.
func appendAnswer(dst []byte, schemas *schema.Registry, m proto.Message) []byte {
	switch m := m.(type) {
	case *watchroutev1.Resource:
		dst = appendResource(dst, schemas, m)
	case *watchroutev1.ListResponse:
		dst = append(dst, `{"resources":[`...)
		for i, r := range m.GetResources() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendResource(dst, schemas, r)
		}
		dst = append(dst, ']')
		dst = appendText(dst, "nextPageToken", m.GetNextPageToken())
		dst = appendNumber(append(dst, ','), "revision", m.GetRevision())
		dst = append(appendText(dst, "resumeToken", m.GetResumeToken()), '}')
	case *watchroutev1.WriteResponse:
		dst = appendWritten(dst, schemas, m)
	case *watchroutev1.WriteBatchResponse:
		dst = append(appendNumber(append(dst, '{'), "revision", m.GetRevision()), `,"results":[`...)
		for i, r := range m.GetResults() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendWritten(dst, schemas, r)
		}
		dst = append(dst, ']')
		if t := when(m.GetWriteTime()); !t.IsZero() {
			dst = appendText(dst, "writeTime", t.UTC().Format(time.RFC3339Nano))
		}
		dst = append(dst, '}')
	default:
		dst = wire.AppendProtoJSON(dst, m)
	}
	return append(dst, '\n')
}

func appendWritten(dst []byte, schemas *schema.Registry, m *watchroutev1.WriteResponse) []byte {
	dst = append(appendNumber(append(dst, '{'), "revision", m.GetRevision()), `,"resource":`...)
	dst = append(appendResource(dst, schemas, m.GetResource()), `,"changed":`...)
	return append(strconv.AppendBool(dst, m.GetChanged()), '}')
}

func appendResource(dst []byte, schemas *schema.Registry, r *watchroutev1.Resource) []byte {
	out := wire.Resource{Name: r.GetName(), UID: r.GetUid(), Revision: r.GetRevision(), CreateRevision: r.GetCreateRevision(), ETag: r.GetEtag(),
		Labels: r.GetLabels(), CreateTime: when(r.GetCreateTime()), UpdateTime: when(r.GetUpdateTime())}
	out.Type, out.Data = plainJSON(schemas, r)
	return out.Append(dst)
}

// plainJSON gives the type and the JSON of a resource's value, nothing where it has
// none.
func plainJSON(schemas *schema.Registry, r *watchroutev1.Resource) (typ string, data []byte) {
	if r.GetData() == nil {
		return "", nil
	}
	name := string(r.GetData().MessageName())
	if name == "watchroute.v1.Json" {
		var text watchroutev1.Json
		if proto.Unmarshal(r.GetData().GetValue(), &text) == nil {
			return "", []byte(text.GetText())
		}
	}
	collection, id, _ := strings.Cut(r.GetName(), "/")
	s := schemas.Schema(collection)
	return s.Type(), s.Value(&changelog.Record{ID: id, Type: name, Data: r.GetData().GetValue()}).JSON()
}

func when(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func appendNumber(dst []byte, key string, n uint64) []byte {
	dst = append(append(append(dst, '"'), key...), `":"`...)
	return append(strconv.AppendUint(dst, n, 10), '"')
}

// appendText appends a member after others; nothing if it is empty.
func appendText(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(append(append(dst, `,"`...), key...), `":`...)
	quoted, _ := json.Marshal(value) // a string always has JSON
	return append(dst, quoted...)
}
