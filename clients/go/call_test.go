package watchroute_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	watchroute "github.com/watchroute/watchroute/clients/go"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func TestPut_IsTriedAgainOnlyWithARequestIDAndWhereThatHelps(t *testing.T) {
	later := withDetails(codes.ResourceExhausted, "LIMIT_REACHED", &errdetails.RetryInfo{RetryDelay: durationpb.New(2 * time.Second)})
	for name, c := range map[string]struct {
		fails   []error
		options []watchroute.WriteOption
		calls   int
		code    codes.Code
		least   time.Duration
	}{
		"without an id":      {[]error{gone}, nil, 1, codes.Unavailable, 0},
		"with an id":         {[]error{gone, gone}, []watchroute.WriteOption{watchroute.RequestID("x")}, 3, codes.OK, 0},
		"as the error asks":  {[]error{later}, []watchroute.WriteOption{watchroute.RequestID("x")}, 2, codes.OK, 2 * time.Second},
		"five times at most": {[]error{gone, gone, gone, gone, gone, gone}, []watchroute.WriteOption{watchroute.RequestID("x")}, 5, codes.Unavailable, 0},
		"of no use":          {[]error{withDetails(codes.FailedPrecondition, "PRECONDITION_FAILED")}, []watchroute.WriteOption{watchroute.RequestID("x")}, 1, codes.FailedPrecondition, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ids []string
				client := watchroute.New(&fake{unary: func(_ context.Context, _ string, request, answer proto.Message) error {
					if ids = append(ids, request.(*watchroutev1.PutRequest).GetRequestId()); len(ids) <= len(c.fails) {
						return c.fails[len(ids)-1]
					}
					answer.(*watchroutev1.WriteResponse).Revision = 7
					return nil
				}}, watchroute.WithTimeout(time.Minute))
				began := time.Now()
				outcome, err := watchroute.Put(t.Context(), client, "notes/1", note{N: 1}, c.options...)
				if e, _ := errors.AsType[*watchroute.Error](err); len(ids) != c.calls || (err == nil) != (c.code == codes.OK) || err != nil && e.Code != c.code {
					t.Errorf("%d calls, then %v", len(ids), err)
				}
				if err == nil && outcome.Revision != 7 || time.Since(began) < c.least || len(slices.Compact(ids)) != 1 {
					t.Errorf("%+v after %v, with %q", outcome, time.Since(began), ids)
				}
				_ = client.Close()
			})
		})
	}
}

func TestCalls_SayWhatTheContractSays(t *testing.T) {
	var got []proto.Message
	client := watchroute.New(&fake{unary: func(ctx context.Context, _ string, request, answer proto.Message) error {
		got = append(got, proto.Clone(request))
		header, _ := metadata.FromOutgoingContext(ctx)
		if header.Get("authorization")[0] != "Bearer s" || header.Get("watchroute-tenant")[0] != "acme" || header.Get("watchroute-json")[0] != "text" {
			t.Errorf("the header is %v", header)
		}
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 10*time.Second {
			t.Error("a call has no time limit")
		}
		switch a := answer.(type) {
		case *watchroutev1.Resource:
			proto.Merge(a, present("1", 7, `{"n":1}`).GetResource())
		case *watchroutev1.ListResponse:
			a.Resources = append(a.Resources, present("1", 7, `{"n":1}`).GetResource())
			a.Revision = 7
			if request.(*watchroutev1.ListRequest).GetPageToken() == "" {
				a.NextPageToken = "p2"
			}
		case *watchroutev1.WriteBatchResponse:
			a.Revision, a.Results = 8, []*watchroutev1.WriteResponse{{Revision: 8, Changed: true}, {Revision: 8}}
		}
		return nil
	}}, watchroute.WithCredential(watchroute.StaticCredential("s")), watchroute.WithTenant("acme"))
	defer client.Close()
	ctx := t.Context()
	r, err := watchroute.Get[note](ctx, client, "notes/1", watchroute.MinRevision(5), watchroute.Projection("p"))
	if err != nil || r.Value.N != 1 || r.Name != "notes/1" || r.Revision != 7 {
		t.Errorf("got %+v, %v", r, err)
	}
	var all int
	for r, err := range watchroute.All[json.RawMessage](ctx, client, "notes", watchroute.Filter("true"), watchroute.PageSize(1)) {
		if all++; err != nil || string(r.Value) != `{"n":1}` {
			t.Errorf("got %+v, %v", r, err)
		}
	}
	if all != 2 {
		t.Errorf("%d resources of two pages", all)
	}
	if _, err := watchroute.Delete(ctx, client, "notes/1", watchroute.IfRevision(7), watchroute.AllowMissing()); err != nil {
		t.Error(err)
	}
	batch, err := watchroute.Write(ctx, client, "notes", []watchroute.Operation{
		watchroute.PutOperation("notes/1", note{N: 1}, watchroute.IfNew(), watchroute.Labels(map[string]string{"k": "v"})), watchroute.DeleteOperation("notes/2", watchroute.IfETag("e"))})
	if err != nil || batch.Revision != 8 || !batch.Outcomes[0].Changed || batch.Outcomes[1].Changed {
		t.Errorf("got %+v, %v", batch, err)
	}
	want := []proto.Message{
		&watchroutev1.GetRequest{Name: "notes/1", MinRevision: 5, Projection: "p"},
		&watchroutev1.ListRequest{Parent: "notes", Filter: "true", PageSize: 1},
		&watchroutev1.ListRequest{Parent: "notes", Filter: "true", PageSize: 1, PageToken: "p2"},
		&watchroutev1.DeleteRequest{Name: "notes/1", AllowMissing: true, Precondition: &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Revision{Revision: 7}}},
		&watchroutev1.WriteRequest{Parent: "notes", Operations: []*watchroutev1.Operation{
			{Action: &watchroutev1.Operation_Put{Put: &watchroutev1.Resource{Name: "notes/1", Labels: map[string]string{"k": "v"}, Data: jsonText(`{"n":1}`)}},
				Precondition: &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}}},
			{Action: &watchroutev1.Operation_Delete{Delete: "notes/2"}, Precondition: &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_Etag{Etag: "e"}}}}},
	}
	for i := range want {
		if i >= len(got) || !proto.Equal(got[i], want[i]) {
			t.Errorf("call %d: got\n%v, expected\n%v", i, got[i], want[i])
		}
	}
	if id := watchroute.NewRequestID(); len(id) != 36 || id == watchroute.NewRequestID() {
		t.Errorf("a request id is %q", id)
	}
}

func TestCalls_AreLimitedInTime(t *testing.T) {
	free := func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }
	minute := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), time.Minute)
	}
	for name, c := range map[string]struct {
		options []watchroute.Option
		ctx     func() (context.Context, context.CancelFunc)
		want    time.Duration
	}{
		"by ten seconds":  {nil, free, 10 * time.Second},
		"by an option":    {[]watchroute.Option{watchroute.WithTimeout(3 * time.Second)}, free, 3 * time.Second},
		"by the program":  {nil, minute, time.Minute},
		"by nothing else": {[]watchroute.Option{watchroute.WithTimeout(0)}, minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				client := watchroute.New(&fake{unary: func(ctx context.Context, _ string, _, _ proto.Message) error {
					if calls++; calls == 1 {
						return gone // what is tried again has no more time
					}
					<-ctx.Done()
					return status.FromContextError(ctx.Err()).Err()
				}}, c.options...)
				defer client.Close()
				ctx, cancel := c.ctx()
				defer cancel()
				began := time.Now()
				_, err := watchroute.Put(ctx, client, "notes/1", note{}, watchroute.RequestID("x"))
				if took := time.Since(began); status.Code(err) != codes.DeadlineExceeded || took != c.want || calls != 2 {
					t.Errorf("%d calls ended after %v with %v", calls, took, err)
				}
			})
		})
	}
}

func TestGet_SaysWhatTheServerSaid(t *testing.T) {
	client := watchroute.New(&fake{unary: func(context.Context, string, proto.Message, proto.Message) error {
		return withDetails(codes.NotFound, "RESOURCE_NOT_FOUND", &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	}})
	_, err := watchroute.Get[note](t.Context(), client, "notes/1")
	e, ok := errors.AsType[*watchroute.Error](err)
	if !ok || e.Code != codes.NotFound || !watchroute.HasReason(err, watchroutev1.ErrorReason_RESOURCE_NOT_FOUND.String()) || e.RetryAfter != time.Second {
		t.Errorf("got %v", err)
	}
	_ = client.Close()
	if _, err := watchroute.Get[note](t.Context(), client, "notes/1"); !errors.Is(err, watchroute.ErrClosed) {
		t.Errorf("of a closed client: %v", err)
	}
}
