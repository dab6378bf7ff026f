package conformance

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

// Line is one message of a script, in both forms that travel.
type Line struct {
	Message *watchroutev1.WatchResponse
	// JSON is that of the message; of a change, which is one event, that of the event.
	JSON map[string]any
	// Name is that of the message in Server-Sent Events.
	Name string
	// Alone says that a session sends the message's unknown fields as a response of its own.
	Alone bool
}

// Begins is `started`, with a mode by number and by name.
func Begins(mode watchroutev1.Started_Mode, name string) Line {
	return Line{Name: "started", JSON: map[string]any{"revision": "1", "started": map[string]any{"mode": name, "silenceLimit": "600s"}},
		Message: &watchroutev1.WatchResponse{Revision: 1, Body: &watchroutev1.WatchResponse_Started{
			Started: &watchroutev1.Started{Mode: mode, SilenceLimit: durationpb.New(10 * time.Minute)}}}}
}

// Tells is one event. The value is a message in one form and JSON in the other.
func Tells(state watchroutev1.State, stateName, name string, revision uint64, token string, value proto.Message, data any) Line {
	resource := &watchroutev1.Resource{Name: name, Revision: revision}
	shown := map[string]any{"name": name, "revision": itoa(revision)}
	if value != nil {
		packed, err := anypb.New(value)
		if err != nil {
			panic(err) // the suite's own messages can be packed
		}
		resource.Data, shown["data"] = packed, data
		if typed := string(value.ProtoReflect().Descriptor().FullName()); typed != "watchroute.v1.Json" {
			shown["type"] = typed
		}
	}
	return Line{Name: "change", JSON: map[string]any{"state": stateName, "cause": "CREATED", "resource": shown},
		Message: &watchroutev1.WatchResponse{Revision: revision, ResumeToken: token, Body: &watchroutev1.WatchResponse_Events{
			Events: &watchroutev1.EventBatch{Events: []*watchroutev1.Event{{State: state, Cause: watchroutev1.Cause_CREATED, Resource: resource}}}}}}
}

// noted is a JSON value that is there.
func noted(name string, revision uint64, token string, note map[string]any) Line {
	text, err := json.Marshal(note)
	if err != nil {
		panic(err) // it is of strings and numbers
	}
	return Tells(watchroutev1.State_PRESENT, "PRESENT", name, revision, token, &watchroutev1.Json{Text: string(text)}, note)
}

// Synced is `snapshot_end`.
func Synced(revision uint64, token string) Line {
	return Line{Name: "snapshot_end", JSON: map[string]any{"revision": itoa(revision), "resumeToken": token, "snapshotEnd": map[string]any{}},
		Message: &watchroutev1.WatchResponse{Revision: revision, ResumeToken: token,
			Body: &watchroutev1.WatchResponse_SnapshotEnd{SnapshotEnd: &watchroutev1.SnapshotEnd{}}}}
}

// Bookmarks is `bookmark`.
func Bookmarks(revision uint64, token string) Line {
	return Line{Name: "bookmark", JSON: map[string]any{"revision": itoa(revision), "resumeToken": token, "bookmark": map[string]any{}},
		Message: &watchroutev1.WatchResponse{Revision: revision, ResumeToken: token,
			Body: &watchroutev1.WatchResponse_Bookmark{Bookmark: &watchroutev1.Bookmark{}}}}
}

// Resets is `reset`, with a reason by number and by name.
func Resets(reason watchroutev1.Reset_Reason, name string) Line {
	return Line{Name: "reset", JSON: map[string]any{"revision": "2", "reset": map[string]any{"reason": name}},
		Message: &watchroutev1.WatchResponse{Revision: 2, Body: &watchroutev1.WatchResponse_Reset_{Reset_: &watchroutev1.Reset{Reason: reason}}}}
}

// Unheard is a message of a kind that is not in this version of the contract.
func Unheard() Line {
	l := Line{Name: "overture", JSON: map[string]any{"revision": "3", "overture": map[string]any{}}, Message: &watchroutev1.WatchResponse{Revision: 3}}
	l.Message.ProtoReflect().SetUnknown(unheardFields())
	return l
}

func unheardFields() []byte {
	fields := protowire.AppendVarint(protowire.AppendTag(nil, 1234, protowire.VarintType), 7)
	return protowire.AppendString(protowire.AppendTag(fields, 1235, protowire.BytesType), "of a newer server")
}

// Newer adds fields that are not in this version of the contract, wherever there may be such.
func (l Line) Newer() Line {
	addFields(l.Message.ProtoReflect())
	addMembers(l.JSON)
	return l
}

func addFields(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.Message() == nil || field.IsMap():
		case field.IsList():
			for i := range v.List().Len() {
				addFields(v.List().Get(i).Message())
			}
		default:
			addFields(v.Message())
		}
		return true
	})
	m.SetUnknown(unheardFields())
}

func addMembers(object map[string]any) {
	for name, member := range object {
		if inner, ok := member.(map[string]any); ok && name != "data" { // which is of the program
			addMembers(inner)
		}
	}
	object["overture"] = map[string]any{"deep": []any{1, nil}}
}

func (l Line) text() map[string]any {
	if l.Name != "change" {
		return l.JSON
	}
	out := map[string]any{"revision": itoa(l.Message.GetRevision()), "events": map[string]any{"events": []any{l.JSON}}}
	if token := l.Message.GetResumeToken(); token != "" {
		out["resumeToken"] = token
	}
	return out
}

// Scripted is a server that says what a script says, to each watch of a collection the same,
// and then nothing. It speaks as a node does on each transport, and asks nobody who calls.
type Scripted struct {
	watchroutev1.UnimplementedResourceServiceServer

	// GRPC and HTTP are HOST:PORT.
	GRPC, HTTP string

	t       testing.TB
	scripts map[string][]Line // by the collection

	mu     sync.Mutex
	opened map[string]int // streams, by the collection
}

// NewScripted starts one. It ends with the test.
func NewScripted(t testing.TB, scripts map[string][]Line) *Scripted {
	t.Helper()
	s := &Scripted{t: t, scripts: scripts, opened: map[string]int{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	watchroutev1.RegisterResourceServiceServer(server, s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // until it is stopped
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /watchroute.v1.ResourceService/Watch", s.grpcWeb)
	mux.HandleFunc("GET /v1/session", s.webSocket)
	mux.HandleFunc("GET /v1/{watch}", s.get)
	pages := httptest.NewServer(mux)
	s.GRPC, s.HTTP = listener.Addr().String(), pages.Listener.Addr().String()
	t.Cleanup(func() {
		server.Stop()
		<-served
		pages.CloseClientConnections()
		pages.Close()
	})
	return s
}

// Opened is how many streams were opened of a collection.
func (s *Scripted) Opened(collection string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened[collection]
}

func (s *Scripted) open(collection string) []Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened[collection]++
	return s.scripts[collection]
}

// Watch implements the contract's service.
func (s *Scripted) Watch(r *watchroutev1.WatchRequest, stream grpc.ServerStreamingServer[watchroutev1.WatchResponse]) error {
	for _, line := range s.open(r.GetParent()) {
		if err := stream.Send(line.Message); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}

// Session implements the contract's service.
func (s *Scripted) Session(stream grpc.BidiStreamingServer[watchroutev1.SessionRequest, watchroutev1.SessionResponse]) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, answer := range s.answers(r) {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	}
}

// answers gives what a session says to a request.
func (s *Scripted) answers(r *watchroutev1.SessionRequest) (answers []*watchroutev1.SessionResponse) {
	opening := r.GetOpen()
	if opening == nil {
		return nil
	}
	for _, line := range s.open(opening.GetWatch().GetParent()) {
		answer := &watchroutev1.SessionResponse{WatchId: opening.GetWatchId()}
		unknown := line.Message.ProtoReflect().GetUnknown()
		if answer.ProtoReflect().SetUnknown(unknown); !line.Alone {
			answer.Body = &watchroutev1.SessionResponse_Watch{Watch: line.Message}
		}
		answers = append(answers, answer)
	}
	return answers
}

func (s *Scripted) grpcWeb(rw http.ResponseWriter, r *http.Request) {
	frame, err := io.ReadAll(r.Body)
	request := &watchroutev1.WatchRequest{}
	if err == nil && len(frame) > 5 {
		err = proto.Unmarshal(frame[5:], request)
	}
	if err != nil {
		s.t.Errorf("a gRPC-Web request cannot be read: %v", err)
		return
	}
	rw.Header().Set("Content-Type", "application/grpc-web+proto")
	for _, line := range s.open(request.GetParent()) {
		body := s.bytes(line.Message)
		_, _ = rw.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)) // who has gone ends it below
	}
	hold(rw, r.Context())
}

// hold lets a stream go on, silent.
func hold(rw http.ResponseWriter, ctx context.Context) {
	_ = http.NewResponseController(rw).Flush() // who has gone ends it
	<-ctx.Done()
}

func (s *Scripted) bytes(m proto.Message) []byte {
	body, err := proto.Marshal(m)
	if err != nil {
		s.t.Error(err)
	}
	return body
}

func (s *Scripted) webSocket(rw http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(rw, r, &websocket.AcceptOptions{Subprotocols: []string{"watchroute.v1.proto"}})
	if err != nil {
		s.t.Errorf("a WebSocket cannot be opened: %v", err)
		return
	}
	defer socket.CloseNow()
	for {
		_, body, err := socket.Read(r.Context())
		if err != nil {
			return
		}
		request := &watchroutev1.SessionRequest{}
		if err := proto.Unmarshal(body, request); err != nil {
			s.t.Errorf("a request of a session cannot be read: %v", err)
			return
		}
		for _, answer := range s.answers(request) {
			if err := socket.Write(r.Context(), websocket.MessageBinary, s.bytes(answer)); err != nil {
				return
			}
		}
	}
}

// get serves Server-Sent Events and long-polls.
func (s *Scripted) get(rw http.ResponseWriter, r *http.Request) {
	collection := strings.TrimSuffix(r.PathValue("watch"), ":watch")
	if r.Header.Get("Accept") == "text/event-stream" {
		rw.Header().Set("Content-Type", "text/event-stream")
		for _, line := range s.open(collection) {
			_, _ = fmt.Fprintf(rw, "event: %s\n", line.Name) // who has gone ends it below
			if token := line.Message.GetResumeToken(); token != "" {
				_, _ = fmt.Fprintf(rw, "id: %s\n", token)
			}
			_, _ = fmt.Fprintf(rw, "data: %s\n\n", s.json(line.JSON))
		}
		hold(rw, r.Context())
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	token := r.URL.Query().Get("resume_token")
	lines := []Line{Begins(watchroutev1.Started_RESUMED, "RESUMED"), Bookmarks(1, token)}
	if token == "" {
		lines = s.open(collection)
	} else {
		wait, _ := time.ParseDuration(r.URL.Query().Get("wait")) // without: at once
		select {
		case <-r.Context().Done():
		case <-time.After(wait):
		}
	}
	var responses []any
	for _, line := range lines {
		responses = append(responses, line.text())
		if t := line.Message.GetResumeToken(); t != "" {
			token = t
		}
	}
	_, _ = rw.Write(s.json(map[string]any{"responses": responses, "resumeToken": token})) // who has gone needs none
}

func (s *Scripted) json(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		s.t.Error(err)
	}
	return text
}
