package wire

import (
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/schema"
)

// ToResource gives a value as the contract's Resource. Where the value is a JSON
// object, text asks for it as watchroute.v1.Json instead of as
// google.protobuf.Struct.
func ToResource(collection string, v *schema.Value, text bool) *watchroutev1.Resource {
	r := v.Record()
	res := &watchroutev1.Resource{
		Name: collection + "/" + r.ID, Uid: r.UID, Revision: r.Revision, CreateRevision: r.CreateRevision, Etag: r.ETag(),
		Labels: r.Labels, CreateTime: timestamppb.New(r.CreateTime), UpdateTime: timestamppb.New(r.Time),
	}
	if text && v.Schema().Type() == "" {
		res.Data = JSONText(v.JSON())
		return res
	}
	url, value := v.Wire()
	res.Data = &anypb.Any{TypeUrl: url, Value: value}
	return res
}

// Tombstone gives a name that does not exist as the contract's Resource.
func Tombstone(collection string, r *changelog.Record) *watchroutev1.Resource {
	return &watchroutev1.Resource{Name: collection + "/" + r.ID, Revision: r.Revision}
}

const jsonURL = "type.googleapis.com/watchroute.v1.Json"

// JSONText wraps the text of a JSON object.
func JSONText(text []byte) *anypb.Any {
	return &anypb.Any{TypeUrl: jsonURL, Value: appendBytes(nil, jsonText, text)}
}
