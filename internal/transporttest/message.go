package transporttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// Kind tells what a message says: the name of the field of WatchResponse.body.
type Kind string

// The kinds.
const (
	Started     Kind = "started"
	Events      Kind = "events"
	SnapshotEnd Kind = "snapshot_end"
	Bookmark    Kind = "bookmark"
	Reset       Kind = "reset"
	Drain       Kind = "drain"
	Closed      Kind = "closed"
)

// Message is a WatchResponse as every transport can tell it. An SSE `change` is a
// message with one event.
type Message struct {
	Kind     Kind
	Revision uint64
	Token    string

	Mode           watchroutev1.Started_Mode // Started
	SilenceLimit   time.Duration             // Started
	Events         []Event                   // Events
	Reason         watchroutev1.Reset_Reason // Reset
	ReconnectAfter time.Duration             // Drain
	Status         *statuspb.Status          // Closed
}

// Event is one event.
type Event struct {
	State     watchroutev1.State
	Cause     watchroutev1.Cause
	Resource  Resource
	Updated   []string // as the keys are in Resource.Data
	Base      uint64
	Coalesced uint32
}

// Resource is a resource.
type Resource struct {
	Name, UID                string
	Revision, CreateRevision uint64
	ETag                     string
	Labels                   map[string]string
	CreateTime, UpdateTime   time.Time
	Type                     string // empty: a JSON object
	Data                     string // canonical JSON; empty: none
}

// String gives a message in one line, for failures.
func (m *Message) String() string {
	var b strings.Builder
	b.WriteString(string(m.Kind))
	switch m.Kind {
	case Started:
		b.WriteString(" " + m.Mode.String())
	case Reset:
		b.WriteString(" " + m.Reason.String())
	case Closed:
		b.WriteString(" " + m.Status.String())
	}
	for i := range m.Events {
		if i == 8 {
			fmt.Fprintf(&b, " and %d more", len(m.Events)-i)
			break
		}
		b.WriteString(" " + m.Events[i].String())
	}
	fmt.Fprintf(&b, " at %d", m.Revision)
	if m.Token == "" {
		b.WriteString(" (no token)")
	}
	return b.String()
}

// String gives cause, name and revision, such as `CREATED orders/1@7`.
func (e *Event) String() string {
	return fmt.Sprintf("%s %s@%d", e.Cause, e.Resource.Name, e.Resource.Revision)
}

// canonical gives JSON with sorted keys and without white space.
func canonical(text []byte) (string, error) {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return "", fmt.Errorf("%q is not JSON: %w", text, err)
	}
	out, err := json.Marshal(v)
	return string(out), err
}

// fromProto turns the contract's message into a Message.
func fromProto(r *watchroutev1.WatchResponse) (*Message, error) {
	m := &Message{Revision: r.GetRevision(), Token: r.GetResumeToken()}
	switch body := r.GetBody().(type) {
	case *watchroutev1.WatchResponse_Events:
		m.Kind = Events
		for _, e := range body.Events.GetEvents() {
			res, err := resourceFromProto(e.GetResource())
			if err != nil {
				return nil, err
			}
			m.Events = append(m.Events, eventOf(e, res))
		}
	case *watchroutev1.WatchResponse_Started:
		m.Kind, m.Mode, m.SilenceLimit = Started, body.Started.GetMode(), body.Started.GetSilenceLimit().AsDuration()
	case *watchroutev1.WatchResponse_SnapshotEnd:
		m.Kind = SnapshotEnd
	case *watchroutev1.WatchResponse_Bookmark:
		m.Kind = Bookmark
	case *watchroutev1.WatchResponse_Reset_:
		m.Kind, m.Reason = Reset, body.Reset_.GetReason()
	case *watchroutev1.WatchResponse_Drain:
		m.Kind, m.ReconnectAfter = Drain, body.Drain.GetReconnectAfter().AsDuration()
	case *watchroutev1.WatchResponse_Closed:
		m.Kind, m.Status = Closed, body.Closed
	default:
		return nil, fmt.Errorf("a message without a body: %v", r)
	}
	return m, nil
}

// anEvent is what the contract's event and its mirrors have in common.
type anEvent interface {
	GetState() watchroutev1.State
	GetCause() watchroutev1.Cause
	GetUpdatedFields() *fieldmaskpb.FieldMask
	GetBaseRevision() uint64
	GetCoalesced() uint32
}

func eventOf(e anEvent, res Resource) Event {
	paths := e.GetUpdatedFields().GetPaths()
	if res.Type != "" {
		for i, p := range paths {
			paths[i] = jsonPath(p)
		}
	}
	return Event{State: e.GetState(), Cause: e.GetCause(), Resource: res, Updated: paths, Base: e.GetBaseRevision(), Coalesced: e.GetCoalesced()}
}

// aResource is what the contract's resource and its mirrors have in common.
type aResource interface {
	GetName() string
	GetUid() string
	GetRevision() uint64
	GetCreateRevision() uint64
	GetEtag() string
	GetLabels() map[string]string
	GetCreateTime() *timestamppb.Timestamp
	GetUpdateTime() *timestamppb.Timestamp
}

func resourceOf(r aResource) Resource {
	out := Resource{Name: r.GetName(), UID: r.GetUid(), Revision: r.GetRevision(), CreateRevision: r.GetCreateRevision(), ETag: r.GetEtag()}
	if len(r.GetLabels()) > 0 {
		out.Labels = r.GetLabels()
	}
	if t := r.GetCreateTime(); t != nil {
		out.CreateTime = t.AsTime()
	}
	if t := r.GetUpdateTime(); t != nil {
		out.UpdateTime = t.AsTime()
	}
	return out
}

func resourceFromProto(r *watchroutev1.Resource) (Resource, error) {
	out := resourceOf(r)
	if r.GetData() == nil {
		return out, nil
	}
	var err error
	out.Type, out.Data, err = valueFromAny(r.GetData())
	return out, err
}

// valueFromAny gives the type, empty for a JSON object, and the canonical JSON.
func valueFromAny(a *anypb.Any) (typ, data string, err error) {
	v, err := a.UnmarshalNew()
	if err != nil {
		return "", "", err
	}
	switch v := v.(type) {
	case *structpb.Struct:
		data, err = protoJSON(v)
	case *watchroutev1.Json:
		data, err = canonical([]byte(v.GetText()))
	default:
		typ = string(v.ProtoReflect().Descriptor().FullName())
		data, err = protoJSON(v)
	}
	return typ, data, err
}

func protoJSON(m proto.Message) (string, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return "", err
	}
	return canonical(text)
}

const orderType = "shop.v1.Order"

// fromOrders turns the shop's own message into a Message.
func fromOrders(r *shopv1.WatchOrdersResponse) (*Message, error) {
	batch, ok := r.GetBody().(*shopv1.WatchOrdersResponse_Events)
	if !ok {
		// Control messages have the same wire form.
		raw, err := proto.Marshal(r)
		if err != nil {
			return nil, err
		}
		generic := &watchroutev1.WatchResponse{}
		if err := (proto.UnmarshalOptions{DiscardUnknown: false}).Unmarshal(raw, generic); err != nil {
			return nil, err
		}
		return fromProto(generic)
	}
	m := &Message{Kind: Events, Revision: r.GetRevision(), Token: r.GetResumeToken()}
	for _, e := range batch.Events.GetEvents() {
		res, err := resourceFromOrder(e.GetResource())
		if err != nil {
			return nil, err
		}
		m.Events = append(m.Events, eventOf(e, res))
	}
	return m, nil
}

func resourceFromOrder(r *shopv1.OrderResource) (Resource, error) {
	out := resourceOf(r)
	if r.GetData() == nil {
		return out, nil
	}
	out.Type = orderType
	var err error
	out.Data, err = protoJSON(r.GetData())
	return out, err
}

// jsonPath writes a path of snake_case fields as their JSON names.
func jsonPath(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '_' && i+1 < len(path) {
			i++
			b.WriteString(strings.ToUpper(path[i : i+1]))
			continue
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// jsonMessage is a WatchResponse in JSON, to the letter: a key that is not here is
// an error.
type jsonMessage struct {
	Revision    revision `json:"revision"`
	ResumeToken string   `json:"resumeToken"`
	Started     *struct {
		Mode         string   `json:"mode"`
		SilenceLimit duration `json:"silenceLimit"`
	} `json:"started"`
	Events *struct {
		Events []jsonEvent `json:"events"`
	} `json:"events"`
	SnapshotEnd *struct{} `json:"snapshotEnd"`
	Bookmark    *struct{} `json:"bookmark"`
	Reset       *struct {
		Reason string `json:"reason"`
	} `json:"reset"`
	Drain *struct {
		ReconnectAfter duration `json:"reconnectAfter"`
	} `json:"drain"`
	Closed json.RawMessage `json:"closed"`
}

type jsonEvent struct {
	State         string       `json:"state"`
	Cause         string       `json:"cause"`
	Resource      jsonResource `json:"resource"`
	UpdatedFields *string      `json:"updatedFields"`
	BaseRevision  revision     `json:"baseRevision"`
	Coalesced     uint32       `json:"coalesced"`
}

type jsonResource struct {
	Name           string            `json:"name"`
	UID            string            `json:"uid"`
	Revision       revision          `json:"revision"`
	CreateRevision revision          `json:"createRevision"`
	ETag           string            `json:"etag"`
	Labels         map[string]string `json:"labels"`
	CreateTime     time.Time         `json:"createTime"`
	UpdateTime     time.Time         `json:"updateTime"`
	Type           string            `json:"type"`
	Data           json.RawMessage   `json:"data"`
}

// revision is a uint64 as ProtoJSON has it: a string.
type revision uint64

// UnmarshalJSON takes a string of digits.
func (r *revision) UnmarshalJSON(text []byte) error {
	s, err := strconv.Unquote(string(text))
	if err != nil {
		return fmt.Errorf("the revision %s is not a string", text)
	}
	n, err := strconv.ParseUint(s, 10, 64)
	*r = revision(n)
	return err
}

// duration is a google.protobuf.Duration as ProtoJSON has it: "1.5s".
type duration time.Duration

// UnmarshalJSON takes seconds with an s.
func (d *duration) UnmarshalJSON(text []byte) error {
	s, err := strconv.Unquote(string(text))
	if err != nil {
		return fmt.Errorf("the duration %s is not a string", text)
	}
	v, err := time.ParseDuration(s)
	*d = duration(v)
	return err
}

// strictJSON decodes one JSON value without unknown keys.
func strictJSON(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", clip(text), err)
	}
	if dec.More() {
		return fmt.Errorf("%s: more than one JSON value", clip(text))
	}
	return nil
}

func clip(text []byte) []byte { return text[:min(len(text), 2000)] }

// fromJSON reads a WatchResponse in JSON.
func fromJSON(text []byte) (*Message, error) {
	var in jsonMessage
	if err := strictJSON(text, &in); err != nil {
		return nil, err
	}
	return in.message(text)
}

func (in *jsonMessage) message(text []byte) (*Message, error) {
	m := &Message{Revision: uint64(in.Revision), Token: in.ResumeToken}
	bodies := 0
	body := func(is bool, kind Kind) bool {
		if is {
			bodies++
			m.Kind = kind
		}
		return is
	}
	if body(in.Started != nil, Started) {
		m.Mode = watchroutev1.Started_Mode(watchroutev1.Started_Mode_value[in.Started.Mode])
		m.SilenceLimit = time.Duration(in.Started.SilenceLimit)
	}
	if body(in.Events != nil, Events) {
		for i := range in.Events.Events {
			e, err := in.Events.Events[i].event()
			if err != nil {
				return nil, err
			}
			m.Events = append(m.Events, e)
		}
	}
	body(in.SnapshotEnd != nil, SnapshotEnd)
	body(in.Bookmark != nil, Bookmark)
	if body(in.Reset != nil, Reset) {
		m.Reason = watchroutev1.Reset_Reason(watchroutev1.Reset_Reason_value[in.Reset.Reason])
	}
	if body(in.Drain != nil, Drain) {
		m.ReconnectAfter = time.Duration(in.Drain.ReconnectAfter)
	}
	if body(in.Closed != nil, Closed) {
		m.Status = &statuspb.Status{}
		if err := protojson.Unmarshal(in.Closed, m.Status); err != nil {
			return nil, fmt.Errorf("%s: %w", clip(text), err)
		}
	}
	if bodies != 1 {
		return nil, fmt.Errorf("%s: %d bodies", clip(text), bodies)
	}
	return m, nil
}

func (in *jsonEvent) event() (Event, error) {
	res, err := in.Resource.resource()
	e := Event{State: watchroutev1.State(watchroutev1.State_value[in.State]), Cause: watchroutev1.Cause(watchroutev1.Cause_value[in.Cause]),
		Resource: res, Base: uint64(in.BaseRevision), Coalesced: in.Coalesced}
	if in.UpdatedFields != nil {
		e.Updated = strings.Split(*in.UpdatedFields, ",")
	}
	return e, err
}

func (in *jsonResource) resource() (Resource, error) {
	r := Resource{Name: in.Name, UID: in.UID, Revision: uint64(in.Revision), CreateRevision: uint64(in.CreateRevision), ETag: in.ETag,
		CreateTime: in.CreateTime, UpdateTime: in.UpdateTime, Type: in.Type}
	if len(in.Labels) > 0 {
		r.Labels = in.Labels
	}
	var err error
	if len(in.Data) > 0 {
		if bytes.Contains(in.Data, []byte(`"@type"`)) {
			return r, fmt.Errorf("the data %s shows an @type", clip(in.Data))
		}
		r.Data, err = canonical(in.Data)
	}
	return r, err
}
