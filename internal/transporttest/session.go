package transporttest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

// Sessions is a transport that carries many watches on one stream.
type Sessions interface {
	Session(ctx context.Context) (Session, error)
}

// Session is one such stream. Recv is for one goroutine, Send for another one.
type Session interface {
	Send(*watchroutev1.SessionRequest) error
	Recv() (*SessionMessage, error)
	Close() error
}

// SessionMessage is a SessionResponse. One of Watch, Closed, Fence and Authenticated is
// set.
type SessionMessage struct {
	WatchID       string
	Watch         *Message
	Closed        *statuspb.Status
	Fence         string
	Authenticated bool
}

// unpacker gives one at a time what comes packed.
type unpacker struct{ rest []*SessionMessage }

func (u *unpacker) next(recv func() ([]*SessionMessage, error)) (*SessionMessage, error) {
	for len(u.rest) == 0 {
		var err error
		if u.rest, err = recv(); err != nil {
			return nil, err
		}
	}
	m := u.rest[0]
	u.rest = u.rest[1:]
	return m, nil
}

func sessionFromProto(packed *watchroutev1.SessionResponse) (out []*SessionMessage, err error) {
	for r := range resource.Unpack(packed) {
		m := &SessionMessage{WatchID: r.GetWatchId()}
		switch body := r.GetBody().(type) {
		case *watchroutev1.SessionResponse_Watch:
			m.Watch, err = fromProto(body.Watch)
		case *watchroutev1.SessionResponse_Closed:
			m.Closed = body.Closed
		case *watchroutev1.SessionResponse_Fence:
			m.Fence = body.Fence.GetFenceId()
		case *watchroutev1.SessionResponse_Authenticated:
			m.Authenticated = true
		default:
			err = fmt.Errorf("a session's message without a body: %v", r)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func sessionFromJSON(text []byte) (out []*SessionMessage, err error) {
	var in struct {
		WatchID string          `json:"watchId"`
		Watch   json.RawMessage `json:"watch"`
		Closed  json.RawMessage `json:"closed"`
		Fence   *struct {
			FenceID string `json:"fenceId"`
		} `json:"fence"`
		Authenticated *struct {
			ExpireTime string `json:"expireTime"`
		} `json:"authenticated"`
		Also []string          `json:"alsoWatchIds"`
		More []json.RawMessage `json:"more"`
	}
	if err := strictJSON(text, &in); err != nil {
		return nil, err
	}
	for _, id := range append([]string{in.WatchID}, in.Also...) {
		m := &SessionMessage{WatchID: id}
		switch {
		case in.Watch != nil:
			m.Watch, err = fromJSON(in.Watch)
		case in.Closed != nil:
			m.Closed = &statuspb.Status{}
			err = protojson.Unmarshal(in.Closed, m.Closed)
		case in.Fence != nil:
			m.Fence = in.Fence.FenceID
		case in.Authenticated != nil:
			m.Authenticated = true
		default:
			err = fmt.Errorf("a session's message without a body: %s", text)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	for _, text := range in.More {
		more, err := sessionFromJSON(text)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

// the only watch of a session that a Stream stands for
const onlyWatch = "the watch"

// watchIn opens the only watch of a session.
func watchIn(x Session, r *watchroutev1.WatchRequest) (Stream, error) {
	err := x.Send(&watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Open{Open: &watchroutev1.OpenWatch{WatchId: onlyWatch, Watch: r}}})
	if err == io.EOF { // it has ended, and says why
		_, err = x.Recv()
	}
	if err != nil {
		_ = x.Close()
		return nil, err
	}
	return opened(sessionStream{x})
}

// sessionStream is a session with one watch.
type sessionStream struct{ session Session }

// Recv implements Stream.
func (s sessionStream) Recv() (*Message, error) {
	m, err := s.session.Recv()
	for err == nil && m.Authenticated {
		m, err = s.session.Recv()
	}
	switch {
	case err != nil:
		return nil, err
	case m.WatchID != onlyWatch:
		return nil, fmt.Errorf("a message of the watch %q, which was not opened", m.WatchID)
	case m.Closed != nil:
		return nil, fromStatus(m.Closed)
	case m.Watch == nil:
		return nil, fmt.Errorf("a fence %q that nobody asked for", m.Fence)
	case m.Watch.Kind == Closed:
		return nil, fmt.Errorf("a session has a `closed` of its own, and yet the watch says %v", m.Watch)
	}
	return m.Watch, nil
}

// Close implements Stream.
func (s sessionStream) Close() error { return s.session.Close() }

// Authenticate implements Renewable.
func (s sessionStream) Authenticate(credential string) error {
	return s.session.Send(authenticate(credential))
}

// introduced lets a session begin with a credential; empty: without.
func introduced(x Session, credential string) (Session, error) {
	if credential == "" {
		return x, nil
	}
	return x, x.Send(authenticate(credential))
}

func authenticate(credential string) *watchroutev1.SessionRequest {
	return &watchroutev1.SessionRequest{Body: &watchroutev1.SessionRequest_Authenticate{Authenticate: &watchroutev1.Authenticate{Credential: credential}}}
}
