package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func TestWRWatch_FindsValuesAndTokenWithoutDecoding(t *testing.T) {
	text := string(payload(256, 7, 1))
	value := &structpb.Struct{}
	if err := value.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	for _, m := range []proto.Message{value, &watchroutev1.Json{Text: text}} {
		data, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		b, err := proto.Marshal(&watchroutev1.WatchResponse{Revision: 300, ResumeToken: "there", Body: &watchroutev1.WatchResponse_Events{
			Events: &watchroutev1.EventBatch{Events: []*watchroutev1.Event{{Resource: &watchroutev1.Resource{Name: "bench/r.1", Data: data}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		w := &wrWatch{sink: func(frame []byte) { scan(frame, func(seq uint64, _ int64) { got = append(got, seq) }) }}
		if kind, err := w.take(b); kind != wrEvents || err != nil || len(got) != 1 || got[0] != 7 || w.Pos() != "there" {
			t.Errorf("%T: kind %d, error %v, values %v, token %v", m, kind, err, got, w.Pos())
		}
	}
}

func TestWRWatch_TakesTheLastTokenOfJoinedBatches(t *testing.T) {
	var joined []byte
	for i, token := range []string{"first", "second", "last"} {
		data, err := anypb.New(&watchroutev1.Json{Text: string(payload(256, uint64(i+1), 1))})
		if err != nil {
			t.Fatal(err)
		}
		joined, err = proto.MarshalOptions{}.MarshalAppend(joined, &watchroutev1.WatchResponse{Revision: uint64(i + 1), ResumeToken: token,
			Body: &watchroutev1.WatchResponse_Events{Events: &watchroutev1.EventBatch{Events: []*watchroutev1.Event{{Resource: &watchroutev1.Resource{Data: data}}}}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	w := &wrWatch{sink: func(frame []byte) { scan(frame, func(uint64, int64) { n++ }) }}
	if _, err := w.take(joined); err != nil || n != 3 || w.Pos() != "last" {
		t.Errorf("error %v, %d values, token %v", err, n, w.Pos())
	}
}

func TestWRWatch_RefusesWhatEndsIt(t *testing.T) {
	for name, m := range map[string]*watchroutev1.WatchResponse{
		"reset": {Body: &watchroutev1.WatchResponse_Reset_{Reset_: &watchroutev1.Reset{}}},
		"empty": {},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (&wrWatch{}).take(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPoller_ReadsLargeAnswersInPieces(t *testing.T) {
	for name, items := range map[string]int{"one": 1, "small": 40, "large": 5000} {
		t.Run(name, func(t *testing.T) {
			var body strings.Builder
			body.WriteString(`{"responses":[`)
			for i := range items {
				fmt.Fprintf(&body, `{"revision":"%d","resumeToken":"T%d","events":{"data":%s}},`, i, i, payload(64+i%700, uint64(i+1), 1))
			}
			body.WriteString(`{}],"resumeToken":"last"}`)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, body.String())
			}))
			defer server.Close()
			c := wrPollConn{dialWRHTTP(strings.TrimPrefix(server.URL, "http://"), "")}
			defer c.Close()
			p, err := c.poller()
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // on one connection
				var next uint64 = 1
				w := &wrWatch{sink: func(frame []byte) {
					scan(frame, func(seq uint64, _ int64) {
						if seq != next {
							t.Fatalf("value %d came instead of %d", seq, next)
						}
						next++
					})
				}}
				if err := p.ask(w, "/"); err != nil {
					t.Fatal(err)
				}
				if next != uint64(items)+1 || w.Pos() != "last" {
					t.Fatalf("%d values, token %v", next-1, w.Pos())
				}
			}
		})
	}
}

func TestLogged_FindsAddresses(t *testing.T) {
	const line = `time=2026-01-02T03:04:05.678Z level=INFO msg=serving http=127.0.0.1:1 grpc=127.0.0.1:2 debug=127.0.0.1:3 data=/tmp/x epoch=ab`
	for key, want := range map[string]string{"http": "127.0.0.1:1", "grpc": "127.0.0.1:2", "debug": "127.0.0.1:3", "epoch": "ab", "none": ""} {
		if got := logged(line, key); got != want {
			t.Errorf("%s is %q instead of %q", key, got, want)
		}
	}
}
