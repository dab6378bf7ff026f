package client

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// fromProto reads a generic WatchResponse, whose values are orders in
// google.protobuf.Any.
func fromProto(r *watchroutev1.WatchResponse) (*Message, error) {
	m := &Message{Revision: r.GetRevision(), Token: r.GetResumeToken()}
	switch body := r.GetBody().(type) {
	case *watchroutev1.WatchResponse_Events:
		m.Kind, m.Events = Events, make([]Event, len(body.Events.GetEvents()))
		for i, in := range body.Events.GetEvents() {
			e := &m.Events[i]
			*e = Event{Name: in.GetResource().GetName(), Revision: in.GetResource().GetRevision(), Cause: in.GetCause().String(),
				Present: in.GetState() == watchroutev1.State_PRESENT, Coalesced: in.GetCoalesced()}
			if e.Present {
				o := new(shopv1.Order)
				if err := in.GetResource().GetData().UnmarshalTo(o); err != nil {
					return nil, err
				}
				e.Order = orderOf(o)
			}
		}
	case *watchroutev1.WatchResponse_Started:
		m.Kind, m.Mode = Started, body.Started.GetMode().String()
	case *watchroutev1.WatchResponse_SnapshotEnd:
		m.Kind = SnapshotEnd
	case *watchroutev1.WatchResponse_Bookmark:
		m.Kind = Bookmark
	case *watchroutev1.WatchResponse_Reset_:
		m.Kind, m.Why = Reset, body.Reset_.GetReason().String()
	case *watchroutev1.WatchResponse_Drain:
		m.Kind, m.Why = Drain, body.Drain.GetReconnectAfter().AsDuration().String()
	case *watchroutev1.WatchResponse_Closed:
		m.Kind, m.Why = Closed, body.Closed.String()
	default:
		return nil, unfit("no body in %v", r)
	}
	return m, nil
}

// fromOrders reads the shop's own message.
func fromOrders(r *shopv1.WatchOrdersResponse) (*Message, error) {
	m := &Message{Revision: r.GetRevision(), Token: r.GetResumeToken()}
	switch body := r.GetBody().(type) {
	case *shopv1.WatchOrdersResponse_Events:
		m.Kind, m.Events = Events, make([]Event, len(body.Events.GetEvents()))
		for i, in := range body.Events.GetEvents() {
			e := &m.Events[i]
			*e = Event{Name: in.GetResource().GetName(), Revision: in.GetResource().GetRevision(), Cause: in.GetCause().String(),
				Present: in.GetState() == watchroutev1.State_PRESENT, Coalesced: in.GetCoalesced()}
			if e.Present {
				e.Order = orderOf(in.GetResource().GetData())
			}
		}
	case *shopv1.WatchOrdersResponse_Started:
		m.Kind, m.Mode = Started, body.Started.GetMode().String()
	case *shopv1.WatchOrdersResponse_SnapshotEnd:
		m.Kind = SnapshotEnd
	case *shopv1.WatchOrdersResponse_Bookmark:
		m.Kind = Bookmark
	case *shopv1.WatchOrdersResponse_Reset_:
		m.Kind, m.Why = Reset, body.Reset_.GetReason().String()
	case *shopv1.WatchOrdersResponse_Drain:
		m.Kind, m.Why = Drain, body.Drain.GetReconnectAfter().AsDuration().String()
	case *shopv1.WatchOrdersResponse_Closed:
		m.Kind, m.Why = Closed, body.Closed.String()
	default:
		return nil, unfit("no body in %v", r)
	}
	return m, nil
}

func fromBytes(b []byte) (*Message, error) {
	r := new(watchroutev1.WatchResponse)
	if err := proto.Unmarshal(b, r); err != nil {
		return nil, err
	}
	return fromProto(r)
}

func (r Request) proto() *watchroutev1.WatchRequest {
	out := &watchroutev1.WatchRequest{Parent: "orders", Filter: r.Filter, Heartbeat: heartbeat, MinInterval: durationpb.New(r.MinInterval)}
	if r.EveryChange {
		out.Delivery = watchroutev1.Delivery_EVERY_CHANGE
	}
	if r.Token != "" {
		out.Start = &watchroutev1.WatchRequest_ResumeToken{ResumeToken: r.Token}
	}
	return out
}

func (r Request) orders() *shopv1.WatchOrdersRequest {
	out := &shopv1.WatchOrdersRequest{Filter: r.Filter, Heartbeat: heartbeat, MinInterval: durationpb.New(r.MinInterval)}
	if r.EveryChange {
		out.Delivery = watchroutev1.Delivery_EVERY_CHANGE
	}
	if r.Token != "" {
		out.Start = &shopv1.WatchOrdersRequest_ResumeToken{ResumeToken: r.Token}
	}
	return out
}
