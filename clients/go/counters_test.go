package watchroute_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"

	"google.golang.org/protobuf/proto"

	watchroute "github.com/watchroute/watchroute/clients/go"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

func TestClient_CountsWhatItsWatchesDoAndDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTap()
		client := watchroute.New(p.conn(), watchroute.WithBackoff(1, 1))
		if client.Counters().Messages.Load() != 0 {
			t.Error("counted before there was a watch")
		}
		var own watchroute.Counters
		for event := range watchroute.Watch[note](t.Context(), client, "notes", watchroute.CountIn(&own)) {
			if event.Kind == watchroute.Synced {
				break
			}
		}
		m, err := watchroute.NewMirror(t.Context(), client, "notes", watchroute.MirrorConfig[note]{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		p.say <- reset(watchroutev1.Reset_ACCESS)
		p.cut <- gone
		synctest.Wait()
		m.Close()
		all := client.Counters()
		for name, c := range map[string]struct{ got, want uint64 }{
			"messages of one": {own.Messages.Load(), 3}, "messages": {all.Messages.Load(), 10},
			"events of one": {own.Events.Load(), 2}, "events": {all.Events.Load(), 7},
			"resets": {all.Resets.Load(), 1}, "reconnects": {all.Reconnects.Load(), 1},
		} {
			if c.got != c.want {
				t.Errorf("%s: %d, expected %d", name, c.got, c.want)
			}
		}
		_ = client.Close()
	})
}

func TestClient_CountsBytes(t *testing.T) {
	address := serve(t, &flood{message: orders(1), idle: true})
	size := uint64(proto.Size(started(snapshot, "")) + proto.Size(snapshotEnd(1, "t1")))
	for _, session := range []bool{false, true} {
		var options []watchroute.Option
		if session {
			options = append(options, watchroute.WithSession())
		}
		client, err := watchroute.Dial(address, options...)
		if err != nil {
			t.Fatal(err)
		}
		var own watchroute.Counters
		for _, err := range watchroute.Watch[json.RawMessage](t.Context(), client, "notes", watchroute.CountIn(&own)) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		all, one := client.Counters().Bytes.Load(), own.Bytes.Load()
		if !session && (all != size || one != size) || session && (all < size || one != 0) {
			t.Errorf("session=%v: %d bytes, %d of the watch, expected %d", session, all, one, size)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}
