package schema

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watchroute/watchroute/internal/changelog"
)

// MaxDepth is how deep a value may nest.
const MaxDepth = 100

// Schema says what the values of one collection are.
type Schema struct {
	collection string
	desc       protoreflect.MessageDescriptor // nil: schemaless
	msgType    protoreflect.MessageType
	idField    protoreflect.FieldDescriptor // may be nil
	types      *Types

	filters *filters
}

// Collection gives the collection.
func (s *Schema) Collection() string { return s.collection }

// Descriptor gives the message; nil where the collection is schemaless.
func (s *Schema) Descriptor() protoreflect.MessageDescriptor { return s.desc }

// Type gives the full name of the message; empty where the collection is
// schemaless.
func (s *Schema) Type() string {
	if s.desc == nil {
		return ""
	}
	return string(s.desc.FullName())
}

// IDField gives the field that holds the id, nil if none does.
func (s *Schema) IDField() protoreflect.FieldDescriptor { return s.idField }

// Value sees a record, which must not be a tombstone, through the schema. It
// decodes nothing yet.
func (s *Schema) Value(rec *changelog.Record) *Value {
	return &Value{schema: s, rec: rec}
}

const urlPrefix = "type.googleapis.com/"

// typeName gives the full name that a type URL ends with.
func typeName(url string) string {
	return url[strings.LastIndexByte(url, '/')+1:]
}
