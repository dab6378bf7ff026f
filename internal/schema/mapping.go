package schema

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/resource"
)

const (
	// MaxMappings is how many mappings a source may have.
	MaxMappings = 64
	// MaxMapping is how long the expressions of one mapping may be together, in bytes.
	MaxMapping = 16 << 10
	// MaxMapped is how many changes one event may make.
	MaxMapped = 1000
	// maxMappedBytes is how large a value that a mapping makes may be, in bytes of JSON.
	maxMappedBytes = 16 << 20
)

// Labels that a mapping sets.
const (
	EventTimeLabel  = "event-time"
	EventOrderLabel = "event-order"
)

// Mapping makes changes of events. It is immutable.
type Mapping struct {
	env        *cel.Env
	schema     *Schema // of the collection
	collection string
	when       *program // nil: always
	forEach    *program // nil: once
	id         program
	action     action
	value      program // of the action
	labels     []mappedLabel
	time       *program // nil: none
	order      *program // nil: none
}

type action int

const (
	actionPut action = iota
	actionMerge
	actionDelete
)

type mappedLabel struct {
	key string
	program
}

// Mapped is what a mapping makes of an event: one change.
type Mapped struct {
	Collection, ID string
	Delete, Merge  bool
	// Value is a JSON object without white space, in ProtoJSON's names where the collection
	// has a schema: the value, or what is laid over it. nil with Delete. It may be part of
	// the event's bytes; what Encode and Over give is not.
	Value  []byte
	Labels map[string]string // nil: none
	// Order is in Labels, too; empty: none.
	Order string
}

// Mapping compiles a mapping of events whose data is of a kind, EventMessage with the
// message's descriptor. field is where it stands, for the error, whose reason is
// InvalidFilter for an expression, then with `line` and `column`, from 1, and otherwise
// InvalidField.
func (r *Registry) Mapping(field string, kind EventKind, desc protoreflect.MessageDescriptor, m *watchroutev1.Mapping) (*Mapping, error) {
	if err := resource.CheckCollection(field+".collection", m.GetCollection()); err != nil {
		return nil, err
	}
	if resource.IsSystem(m.GetCollection()) {
		return nil, resource.Errorf(resource.InvalidField, "%s is the server's own", m.GetCollection()).In(field + ".collection")
	}
	size := len(m.GetWhen()) + len(m.GetForEach()) + len(m.GetId()) + len(m.GetPut()) + len(m.GetMerge()) + len(m.GetDelete()) + len(m.GetEventTime()) + len(m.GetOrder())
	for _, expr := range m.GetLabels() {
		size += len(expr)
	}
	if size > MaxMapping {
		return nil, resource.Errorf(resource.InvalidField, "the expressions of the mapping have %d bytes, %d are allowed", size, MaxMapping).In(field)
	}
	env, err := eventEnvironment(kind, desc)
	if err != nil {
		return nil, resource.Errorf(resource.Internal, "mappings cannot be compiled").Because(err)
	}
	c := &mappingCompiler{env: env, field: field}
	out := &Mapping{schema: r.Schema(m.GetCollection()), collection: m.GetCollection()}
	out.when = c.optional("when", m.GetWhen(), types.BoolKind)
	out.forEach = c.list("for_each", m.GetForEach())
	out.env = c.env
	out.id = c.required("id", m.GetId(), types.StringKind, types.IntKind, types.UintKind, types.DoubleKind)
	switch a := m.GetAction().(type) {
	case *watchroutev1.Mapping_Put:
		out.action, out.value = actionPut, c.object("put", a.Put, out.schema.desc)
	case *watchroutev1.Mapping_Merge:
		out.action, out.value = actionMerge, c.object("merge", a.Merge, out.schema.desc)
	case *watchroutev1.Mapping_Delete:
		out.action, out.value = actionDelete, c.required("delete", a.Delete, types.BoolKind)
	default:
		c.fail(resource.Errorf(resource.InvalidField, "what becomes of the resource is missing: put, merge or delete").In(field))
	}
	for _, key := range slices.Sorted(maps.Keys(m.GetLabels())) {
		out.labels = append(out.labels, mappedLabel{key, c.required("labels["+key+"]", m.GetLabels()[key], types.StringKind)})
	}
	out.time = c.optional("event_time", m.GetEventTime(), types.TimestampKind)
	out.order = c.optional("order", m.GetOrder(), types.IntKind, types.UintKind, types.DoubleKind, types.TimestampKind, types.StringKind)
	if c.err != nil {
		return nil, c.err
	}
	return out, nil
}

// mappingCompiler compiles the expressions of one mapping; err is its first error.
type mappingCompiler struct {
	env   *cel.Env
	field string
	err   error
}

func (c *mappingCompiler) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *mappingCompiler) optional(name, expr string, kinds ...types.Kind) *program {
	if expr == "" {
		return nil
	}
	p := c.required(name, expr, kinds...)
	return &p
}

// required compiles an expression that yields one of some kinds, or what is not known.
func (c *mappingCompiler) required(name, expr string, kinds ...types.Kind) program {
	p, _ := c.compile(name, expr, kinds)
	return p
}

func (c *mappingCompiler) compile(name, expr string, kinds []types.Kind) (p program, a *ast.AST) {
	at1 := func(format string, args ...any) *resource.Error {
		return at(resource.Errorf(resource.InvalidFilter, format, args...), 1, 1).In(c.field + "." + name)
	}
	if expr == "" {
		c.fail(resource.Errorf(resource.InvalidField, "the expression is missing").In(c.field + "." + name))
		return p, nil
	}
	a, plain, bad := check(c.env, "mapping", expr)
	if bad != nil {
		c.fail(bad.In(c.field + "." + name))
		return p, nil
	}
	typ := a.GetType(a.Expr().ID())
	if k := typ.Kind(); k != types.DynKind && k != types.AnyKind && !slices.Contains(kinds, k) {
		c.fail(at1("the expression yields %s, expected %s", cel.FormatCELType(typ), kindNames(kinds)))
		return p, nil
	}
	p, err := plan(c.env, a, plain)
	if err != nil {
		c.fail(at1("%s", oneLine(err.Error())))
	}
	return p, a
}

func kindNames(kinds []types.Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = map[types.Kind]string{types.BoolKind: "bool", types.StringKind: "string", types.IntKind: "int", types.UintKind: "uint", types.DoubleKind: "double",
			types.TimestampKind: "timestamp", types.ListKind: "list", types.MapKind: "map", types.StructKind: "message"}[k]
	}
	return strings.Join(names, " or ")
}

// list compiles for_each; the expressions after it know `item`.
func (c *mappingCompiler) list(name, expr string) *program {
	if expr == "" {
		return nil
	}
	p, a := c.compile(name, expr, []types.Kind{types.ListKind})
	if a == nil {
		return &p
	}
	item := cel.DynType
	if typ := a.GetType(a.Expr().ID()); typ.Kind() == types.ListKind && len(typ.Parameters()) == 1 {
		item = typ.Parameters()[0]
	}
	env, err := c.env.Extend(cel.Variable("item", item))
	if err != nil {
		c.fail(resource.Errorf(resource.Internal, "mappings cannot be compiled").Because(err))
		return &p
	}
	c.env = env
	return &p
}

// object compiles an expression that yields a value of a collection.
func (c *mappingCompiler) object(name, expr string, desc protoreflect.MessageDescriptor) program {
	p, a := c.compile(name, expr, []types.Kind{types.MapKind, types.StructKind})
	if a != nil && desc != nil {
		if bad := (literals{a}).message(a.Expr(), desc); bad != nil {
			c.fail(bad.In(c.field + "." + name))
		}
	}
	return p
}

// Changes makes the changes of an event, of which there may be none. The error's reason is
// InvalidValue, and its field the expression that failed, such as put.
func (m *Mapping) Changes(e *Event) ([]Mapped, error) {
	vars := &eventVariables{env: m.env, event: e}
	size := e.size()
	if m.when != nil {
		if out, err := m.when.value("when", vars, size); err != nil || out != types.True {
			return nil, err
		}
	}
	if m.forEach == nil {
		c, ok, err := m.change(vars, size)
		if err != nil || !ok {
			return nil, err
		}
		return []Mapped{c}, nil
	}
	out, err := m.forEach.value("for_each", vars, size)
	if err != nil {
		return nil, err
	}
	list, ok := out.(traits.Lister)
	if !ok {
		return nil, mappingError("for_each", "%s, expected a list", typeOf(out))
	}
	var changes []Mapped
	for it := list.Iterator(); it.HasNext() == types.True; {
		vars.item = it.Next()
		c, ok, err := m.change(vars, size)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if len(changes) == MaxMapped {
			return nil, mappingError("for_each", "it has more than %d elements", MaxMapped)
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func mappingError(field, format string, args ...any) *resource.Error {
	return resource.Errorf(resource.InvalidValue, format, args...).In(field)
}

func typeOf(v ref.Val) string { return "it yields " + v.Type().TypeName() }

// value evaluates an expression of a mapping.
func (p *program) value(field string, vars *eventVariables, size int) (ref.Val, error) {
	out, err := p.eval(vars, size)
	if err != nil {
		return nil, mappingError(field, "%s", oneLine(err.Error()))
	}
	return out, nil
}

// change makes one change; not ok: there is none.
func (m *Mapping) change(vars *eventVariables, size int) (c Mapped, ok bool, err error) {
	c.Collection = m.collection
	id, err := m.id.value("id", vars, size)
	if err != nil {
		return c, false, err
	}
	if c.ID, ok = idText(id); !ok {
		return c, false, mappingError("id", "%s, expected a string or an integer", typeOf(id))
	}
	if err := resource.CheckID("id", c.ID); err != nil {
		return c, false, resource.Errorf(resource.InvalidValue, "%s", resource.AsError(err).Message).In("id")
	}
	switch m.action {
	case actionDelete:
		out, err := m.value.value("delete", vars, size)
		if err != nil || out != types.True {
			return c, false, err
		}
		c.Delete = true
	case actionMerge:
		c.Merge = true
		c.Value, err = m.object("merge", vars, size)
	default:
		c.Value, err = m.object("put", vars, size)
	}
	if err != nil {
		return c, false, err
	}
	return c, true, m.label(&c, vars, size)
}

func idText(v ref.Val) (string, bool) {
	switch v := v.(type) {
	case types.String:
		return string(v), true
	case types.Int:
		return strconv.FormatInt(int64(v), 10), true
	case types.Uint:
		return strconv.FormatUint(uint64(v), 10), true
	case types.Double:
		if f := float64(v); f == math.Trunc(f) && math.Abs(f) <= maxExact {
			return strconv.FormatInt(int64(f), 10), true
		}
	}
	return "", false
}

// object evaluates what yields a JSON object.
func (m *Mapping) object(field string, vars *eventVariables, size int) ([]byte, error) {
	out, err := m.value.value(field, vars, size)
	if err != nil {
		return nil, err
	}
	var text []byte
	if o, ok := out.(*jsonObject); ok { // of the event, as it was written
		text = o.raw
	} else {
		w := &celWriter{schema: m.schema, out: make([]byte, 0, 256), most: maxMappedBytes}
		if !w.value(out, nil) || nesting(w.out) > MaxDepth {
			return nil, mappingError(field, "what it yields cannot be JSON: %s, too large, too deep, or with names that are no text", typeOf(out))
		}
		text = w.out
	}
	if len(text) == 0 || text[0] != '{' {
		return nil, mappingError(field, "a JSON object is expected, not %s", clip(string(text)))
	}
	if m.schema.desc != nil {
		n := &jsonNamer{out: make([]byte, 0, len(text)+64)}
		if n.value(m.schema.desc, text); n.twice != "" {
			return nil, mappingError(field, "the field %s stands there twice", n.twice)
		}
		text = n.out
	}
	return text, nil
}

func (m *Mapping) label(c *Mapped, vars *eventVariables, size int) error {
	set := func(key, value string) {
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[key] = value
	}
	for i := range m.labels {
		l := &m.labels[i]
		field := "labels[" + l.key + "]"
		out, err := l.value(field, vars, size)
		if err != nil {
			return err
		}
		text, ok := out.(types.String)
		if !ok {
			return mappingError(field, "%s, expected a string", typeOf(out))
		}
		set(l.key, string(text))
	}
	if m.time != nil {
		out, err := m.time.value("event_time", vars, size)
		if err != nil {
			return err
		}
		t, ok := out.(types.Timestamp)
		if !ok {
			return mappingError("event_time", "%s, expected a timestamp", typeOf(out))
		}
		set(EventTimeLabel, t.UTC().Format(time.RFC3339Nano))
	}
	if m.order != nil {
		out, err := m.order.value("order", vars, size)
		if err != nil {
			return err
		}
		if t, ok := out.(types.Timestamp); ok {
			c.Order = t.UTC().Format("2006-01-02T15:04:05.000000000Z")
		} else if c.Order, ok = idText(out); !ok {
			return mappingError("order", "%s, expected an integer, a timestamp or a string", typeOf(out))
		} else if c.Order == "" {
			return mappingError("order", "it is empty")
		}
		set(EventOrderLabel, c.Order)
	}
	return nil
}

// before says whether something ordered comes before what is there: as integers, where
// both are, and otherwise as strings.
func before(order, there string) bool {
	a, okA := integer(order)
	b, okB := integer(there)
	if okA && okB {
		return a.Cmp(b) < 0
	}
	return order < there
}

func integer(text string) (*big.Int, bool) {
	if strings.Trim(text, "-0123456789") != "" {
		return nil, false
	}
	return new(big.Int).SetString(text, 10)
}

// Encode gives the type and the data that a change stores where it is not laid over
// anything. The error is that of Schema.Encode, in the field `put`.
func (c *Mapped) Encode(s *Schema) (typ string, data []byte, err error) {
	text := c.Value
	if s.desc == nil { // it would be stored
		text = bytes.Clone(text)
	}
	return s.encodeText("put", c.ID, text)
}

// Over makes the change of what is there; nil: nothing. It sets the op's labels and
// Delete and, of one that merges, its type and data; those of others are Encode's.
// outOfDate says that the change comes too late and that the op, which then writes what
// is there, changes nothing. The errors are those of Schema.Encode, in the field `merge`.
func (c *Mapped) Over(s *Schema, old *changelog.Record, op *changelog.Op) (outOfDate bool, err error) {
	if old != nil && old.Absent {
		old = nil
	}
	if old != nil && c.Order != "" {
		if there := old.Labels[EventOrderLabel]; there != "" && before(c.Order, there) {
			op.Delete, op.Type, op.Data, op.Labels = false, old.Type, old.Data, old.Labels
			return true, nil
		}
	}
	op.Delete, op.Labels = c.Delete, c.Labels
	if !c.Merge {
		return false, nil
	}
	var there []byte
	if old != nil {
		there = s.Value(old).JSON()
		op.Labels = maps.Clone(old.Labels)
		if op.Labels == nil {
			op.Labels = map[string]string{}
		}
		maps.Copy(op.Labels, c.Labels)
	}
	text := mergePatch(make([]byte, 0, len(there)+len(c.Value)), there, c.Value)
	op.Type, op.Data, err = s.encodeText("merge", c.ID, text)
	return false, err
}

// encodeText is Encode for a JSON object without white space, which is kept.
func (s *Schema) encodeText(field, id string, text []byte) (typ string, stored []byte, err error) {
	if s.desc == nil {
		if nesting(text) > MaxDepth {
			return "", nil, invalid(field, "", "it is nested deeper than %d", MaxDepth)
		}
		return "", text, nil
	}
	m := s.msgType.New()
	opts := protojson.UnmarshalOptions{Resolver: s.types, RecursionLimit: wireDepth}
	if err := opts.Unmarshal(text, m.Interface()); err != nil {
		path, msg := jsonPath(string(text), cleanError(err))
		return "", nil, invalid(field, path, "%s", msg)
	}
	return s.encodeMessage(field, id, m)
}

// String is for messages of errors.
func (c *Mapped) String() string { return fmt.Sprintf("%s/%s", c.Collection, c.ID) }
