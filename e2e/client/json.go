package client

import (
	"encoding/json"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
)

// heartbeat is asked for, so that a quiet watch soon says how far it has come.
var heartbeat = durationpb.New(time.Second)

// jsonMessage is what the tests need of a message's JSON.
type jsonMessage struct {
	Revision    string `json:"revision"`
	ResumeToken string `json:"resumeToken"`
	Started     *struct {
		Mode string `json:"mode"`
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
		ReconnectAfter string `json:"reconnectAfter"`
	} `json:"drain"`
	Closed json.RawMessage `json:"closed"`
}

type jsonEvent struct {
	State     string `json:"state"`
	Cause     string `json:"cause"`
	Coalesced uint32 `json:"coalesced"`
	Resource  struct {
		Name     string `json:"name"`
		Revision string `json:"revision"`
		Data     struct {
			OrderID    string `json:"orderId"`
			CustomerID string `json:"customerId"`
			Status     string `json:"status"`
			Total      struct {
				Units string `json:"units"`
				Nanos int64  `json:"nanos"`
			} `json:"total"`
		} `json:"data"`
	} `json:"resource"`
}

func fromJSON(text []byte) (*Message, error) {
	var in jsonMessage
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, unfit("%v in %.300s", err, text)
	}
	m := &Message{Token: in.ResumeToken}
	var err error
	if m.Revision, err = revision(in.Revision); err != nil {
		return nil, err
	}
	switch {
	case in.Events != nil:
		m.Kind, m.Events = Events, make([]Event, len(in.Events.Events))
		for i := range in.Events.Events {
			if m.Events[i], err = in.Events.Events[i].event(); err != nil {
				return nil, err
			}
		}
	case in.Started != nil:
		m.Kind, m.Mode = Started, in.Started.Mode
	case in.SnapshotEnd != nil:
		m.Kind = SnapshotEnd
	case in.Bookmark != nil:
		m.Kind = Bookmark
	case in.Reset != nil:
		m.Kind, m.Why = Reset, in.Reset.Reason
	case in.Drain != nil:
		m.Kind, m.Why = Drain, in.Drain.ReconnectAfter
	case in.Closed != nil:
		m.Kind, m.Why = Closed, string(in.Closed)
	default:
		return nil, unfit("no body in %.300s", text)
	}
	return m, nil
}

// revision reads a uint64 as ProtoJSON has it; left out, it is 0.
func revision(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

func (in *jsonEvent) event() (e Event, err error) {
	data := &in.Resource.Data
	e = Event{Name: in.Resource.Name, Present: in.State == "PRESENT", Cause: in.Cause, Coalesced: in.Coalesced}
	if e.Revision, err = revision(in.Resource.Revision); err != nil || !e.Present {
		return e, err
	}
	units := int64(0)
	if data.Total.Units != "" {
		if units, err = strconv.ParseInt(data.Total.Units, 10, 64); err != nil {
			return e, err
		}
	}
	e.Order = Order{ID: data.OrderID, Customer: data.CustomerID, Status: shopv1.OrderStatus(shopv1.OrderStatus_value[data.Status]),
		Cents: units*100 + data.Total.Nanos/10_000_000}
	return e, nil
}

// query gives a request as the query of a URL.
func (r Request) query() url.Values {
	q := url.Values{"heartbeat": {"1s"}}
	if r.Filter != "" {
		q.Set("filter", r.Filter)
	}
	if r.MinInterval > 0 {
		q.Set("min_interval", r.MinInterval.String())
	}
	if r.EveryChange {
		q.Set("delivery", "EVERY_CHANGE")
	}
	if r.Token != "" {
		q.Set("resume_token", r.Token)
	}
	return q
}
