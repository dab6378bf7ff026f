package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/structpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/internal/wire"
)

var (
	created = time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	updated = created.Add(time.Hour)
)

func schemas(t testing.TB) *schema.Registry {
	t.Helper()
	r, err := schema.NewRegistry(protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func order(t testing.TB, pad int) *schema.Value {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(&shopv1.Order{OrderId: "42", CustomerId: "7" + strings.Repeat("é", pad),
		Status: shopv1.OrderStatus_SHIPPED, Total: &shopv1.Money{CurrencyCode: "USD", Units: 12}})
	if err != nil {
		t.Fatal(err)
	}
	return schemas(t).Schema("orders").Value(&changelog.Record{ID: "42", Revision: 7, Prev: 3, UID: "abcdefghijklmnop", CreateRevision: 3,
		CreateTime: created, Time: updated, Labels: map[string]string{"k": `v"\`, "empty": ""}, Type: "shop.v1.Order", Data: data})
}

func note(t testing.TB) *schema.Value {
	return schemas(t).Schema("notes").Value(&changelog.Record{ID: "1", Revision: 9, UID: "u", CreateRevision: 9, CreateTime: created, Time: created,
		Data: []byte(`{"z":1,"big":12345678901234567890}`)})
}

func events(t testing.TB, pad int) *hub.Message {
	return &hub.Message{Kind: hub.Events, Revision: 9, Token: "tok", Events: []hub.Event{
		{Name: "orders/42", Revision: 7, Cause: watchroutev1.Cause_UPDATED, Value: order(t, pad), Updated: []string{"customer_id", "total.units"}, Base: 3, Coalesced: 2},
		{Name: "orders/43", Revision: 8, Cause: watchroutev1.Cause_LEFT},
		{Name: "notes/1", Revision: 9, Cause: watchroutev1.Cause_CREATED, Value: note(t)},
	}}
}

// TestProto_IsWhatTheContractSays: the hand-written encoder against the generated
// decoder, with field sizes on both sides of every length's border.
func TestProto_IsWhatTheContractSays(t *testing.T) {
	for _, pad := range []int{0, 1, 20, 50, 60, 70, 8000, 9000} {
		var got watchroutev1.WatchResponse
		if err := (proto.UnmarshalOptions{}).Unmarshal(wire.Proto.Append([]byte{}, events(t, pad)), &got); err != nil {
			t.Fatal(pad, err)
		}
		if len(got.ProtoReflect().GetUnknown()) > 0 {
			t.Fatal("unknown fields")
		}
		o := order(t, pad)
		want := &watchroutev1.WatchResponse{Revision: 9, ResumeToken: "tok", Body: &watchroutev1.WatchResponse_Events{Events: &watchroutev1.EventBatch{Events: []*watchroutev1.Event{
			{State: watchroutev1.State_PRESENT, Cause: watchroutev1.Cause_UPDATED, Resource: wire.ToResource("orders", o, false), BaseRevision: 3, Coalesced: 2},
			{State: watchroutev1.State_ABSENT, Cause: watchroutev1.Cause_LEFT, Resource: &watchroutev1.Resource{Name: "orders/43", Revision: 8}},
			{State: watchroutev1.State_PRESENT, Cause: watchroutev1.Cause_CREATED, Resource: wire.ToResource("notes", note(t), false)},
		}}}}
		updated := got.GetEvents().Events[0].UpdatedFields
		if fmt.Sprint(updated.GetPaths()) != "[customer_id total.units]" {
			t.Error(updated)
		}
		got.GetEvents().Events[0].UpdatedFields = nil
		if !proto.Equal(&got, want) {
			t.Fatalf("got  %v\nwant %v", &got, want)
		}
		var s structpb.Struct
		if err := got.GetEvents().Events[2].Resource.Data.UnmarshalTo(&s); err != nil {
			t.Error(err)
		}
	}
}

func TestProtoText_KeepsTheText(t *testing.T) {
	var got watchroutev1.WatchResponse
	var text watchroutev1.Json
	if err := proto.Unmarshal(wire.ProtoText.Append(nil, events(t, 0)), &got); err != nil {
		t.Fatal(err)
	}
	if err := got.GetEvents().Events[2].Resource.Data.UnmarshalTo(&text); err != nil || text.Text != `{"z":1,"big":12345678901234567890}` {
		t.Errorf("%q, %v", text.Text, err)
	}
	if !got.GetEvents().Events[0].Resource.Data.MessageIs(&shopv1.Order{}) {
		t.Error("a typed value is not its message")
	}
}

// TestTyped_IsTheMirror: the same bytes read as the contract's own message.
func TestTyped_IsTheMirror(t *testing.T) {
	m := events(t, 100)
	m.Events = m.Events[:2]
	var got shopv1.WatchOrdersResponse
	if err := proto.Unmarshal(wire.Typed.Append(nil, m), &got); err != nil {
		t.Fatal(err)
	}
	r := got.GetEvents().GetEvents()[0].GetResource()
	if r.GetData().GetOrderId() != "42" || r.GetData().GetStatus() != shopv1.OrderStatus_SHIPPED || r.GetName() != "orders/42" || r.GetLabels()["k"] != `v"\` {
		t.Errorf("%v", &got)
	}
	if len(got.ProtoReflect().GetUnknown())+len(r.GetData().ProtoReflect().GetUnknown()) > 0 {
		t.Error("unknown fields")
	}
	for _, c := range controls() {
		var a watchroutev1.WatchResponse
		var b shopv1.WatchOrdersResponse
		if err := errors.Join(proto.Unmarshal(wire.Proto.Append(nil, c), &a), proto.Unmarshal(wire.Typed.Append(nil, c), &b)); err != nil {
			t.Fatal(err)
		}
		if a.Body == nil || b.Body == nil {
			t.Errorf("%v has no body", c.Kind)
		}
	}
}

func controls() []*hub.Message {
	return []*hub.Message{
		{Kind: hub.Started, Mode: watchroutev1.Started_RESUMED, SilenceLimit: 30 * time.Second, Revision: 1, Token: "t"},
		{Kind: hub.SnapshotEnd, Revision: 2, Token: "t"},
		{Kind: hub.Bookmark, Revision: 3, Token: "t"},
		{Kind: hub.Reset, Reason: watchroutev1.Reset_COMPACTED},
		{Kind: hub.Drain, ReconnectAfter: 1500 * time.Millisecond, Revision: 3, Token: "t"},
		{Kind: hub.Closed, Err: resource.Errorf(resource.InvalidFilter, "no").In("filter")},
	}
}

func TestJSON_IsWhatPeopleRead(t *testing.T) {
	for kind, want := range map[int]string{
		0: `{"revision":"1","resumeToken":"t","started":{"mode":"RESUMED","silenceLimit":"30s"}}`,
		1: `{"revision":"2","resumeToken":"t","snapshotEnd":{}}`,
		2: `{"revision":"3","resumeToken":"t","bookmark":{}}`,
		3: `{"reset":{"reason":"COMPACTED"}}`,
		4: `{"revision":"3","resumeToken":"t","drain":{"reconnectAfter":"1.500s"}}`,
	} {
		if got := string(wire.JSON.Append(nil, controls()[kind])); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	got := string(wire.NDJSON.Append(nil, events(t, 1)))
	order := `{"name":"orders/42","uid":"abcdefghijklmnop","revision":"7","createRevision":"3","etag":"` + order(t, 1).Record().ETag() +
		`","labels":{"empty":"","k":"v\"\\"},"createTime":"2026-01-02T03:04:05.678901234Z","updateTime":"2026-01-02T04:04:05.678901234Z","type":"shop.v1.Order",` +
		`"data":{"orderId":"42","customerId":"7é","status":"SHIPPED","total":{"currencyCode":"USD","units":"12"}}}`
	note := `{"name":"notes/1","uid":"u","revision":"9","createRevision":"9","etag":"` + note(t).Record().ETag() +
		`","createTime":"2026-01-02T03:04:05.678901234Z","updateTime":"2026-01-02T03:04:05.678901234Z","data":{"z":1,"big":12345678901234567890}}`
	want := `{"revision":"9","resumeToken":"tok","events":{"events":[` +
		`{"state":"PRESENT","cause":"UPDATED","resource":` + order + `,"updatedFields":"customerId,total.units","baseRevision":"3","coalesced":2},` +
		`{"state":"ABSENT","cause":"LEFT","resource":{"name":"orders/43","revision":"8"}},` +
		`{"state":"PRESENT","cause":"CREATED","resource":` + note + `}]}}` + "\n"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !json.Valid([]byte(got)) {
		t.Error("not JSON")
	}
}

func TestSSE_OnlyTheLastOfABatchMovesTheID(t *testing.T) {
	text := string(wire.SSE.Append(nil, events(t, 0)))
	parts := strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n")
	if len(parts) != 3 {
		t.Fatalf("%d events in %q", len(parts), text)
	}
	for i, p := range parts {
		if !strings.HasPrefix(p, "event: change\n") || strings.Contains(p, "\nid: tok\n") != (i == 2) {
			t.Errorf("%q", p)
		}
	}
	for _, c := range controls() {
		got := string(wire.SSE.Append(nil, c))
		if !strings.HasPrefix(got, "event: "+c.Kind.String()+"\n") || !strings.HasSuffix(got, "\n\n") || strings.Count(got, "\n\n") != 1 {
			t.Errorf("%q", got)
		}
		if strings.Contains(got, "retry: ") != (c.Kind == hub.Started || c.Kind == hub.Drain) {
			t.Errorf("%q", got)
		}
	}
}

func TestStatus(t *testing.T) {
	err := fmt.Errorf("wrapped: %w", resource.Errorf(resource.RevisionNotReached, "not yet").In("min_revision").After(2*time.Second))
	s := wire.Status(err)
	if s.Code() != codes.Unavailable || s.Message() != "not yet" || wire.HTTPStatus(err) != 503 || wire.CloseCode(err) != 4014 {
		t.Errorf("%v %d %d", s, wire.HTTPStatus(err), wire.CloseCode(err))
	}
	var info *errdetails.ErrorInfo
	var retry *errdetails.RetryInfo
	for _, d := range s.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		}
	}
	if info.GetReason() != "REVISION_NOT_REACHED" || info.GetDomain() != wire.Domain || info.GetMetadata()["field"] != "min_revision" || retry.GetRetryDelay().AsDuration() != 2*time.Second {
		t.Errorf("%v %v", info, retry)
	}
	secret := wire.Status(errors.New("password is 123"))
	if secret.Code() != codes.Internal || strings.Contains(secret.Message(), "123") {
		t.Errorf("%v", secret)
	}
	if wire.Status(nil).Code() != codes.OK || wire.Status(context.Canceled).Code() != codes.Canceled || wire.HTTPStatus(context.DeadlineExceeded) != 504 {
		t.Error("contexts")
	}
}

// TestStatus_EveryReasonIsRendered: a reason without a rendering would be OK.
func TestStatus_EveryReasonIsRendered(t *testing.T) {
	for n := range watchroutev1.ErrorReason_name {
		if n == 0 {
			continue
		}
		err := resource.Errorf(resource.Reason(n), "x")
		if wire.Status(err).Code() == codes.OK || wire.HTTPStatus(err) < 400 {
			t.Errorf("%v has no rendering", err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	m := events(b, 0)
	m.Events = m.Events[:1]
	for _, c := range []hub.Codec{wire.Proto, wire.Typed, wire.JSON, wire.SSE} {
		b.Run(c.Name(), func(b *testing.B) {
			dst := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				dst = c.Append(dst[:0], m)
			}
		})
	}
}
