package conformance

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// scripted makes a world whose node is a script, for the client's address.
func scripted(t *testing.T, c *Client, scripts map[string][]Line) (*World, *Scripted) {
	t.Helper()
	c.driver(t) // before all else
	s := NewScripted(t, scripts)
	to := s.GRPC
	if c.HTTP {
		to = s.HTTP
	}
	w := &World{T: t, Client: c, Proxy: NewProxy(t, to), Writer: NewWriter(t, "", ""), Heartbeat: "1s"}
	w.StartDriver("--ladder", "1m") // on a busy machine a rung would be left that takes 300 ms
	return w, s
}

// A server of a newer contract says what this client does not know: what came before is
// told, and the watch ends with an error, for good. It is not tried again.
func TestContract_IsNewerThanTheClient(t *testing.T) {
	const present = watchroutev1.State_PRESENT
	state := []Line{Begins(watchroutev1.Started_SNAPSHOT, "SNAPSHOT"), noted("newer/a", 2, "", Note(1)), Synced(2, "token-2")}
	then := func(more ...Line) []Line { return append(slices.Clone(state), more...) }
	order := &shopv1.Order{OrderId: "7", CustomerId: "ada"}
	typed := []Line{Begins(watchroutev1.Started_SNAPSHOT, "SNAPSHOT"), Synced(2, "token-2")}
	unreadable := Tells(present, "PRESENT", "orders/7", 3, "token-3", order, map[string]any{"orderId": 7, "customerId": []any{}})
	unreadable.Message.GetEvents().GetEvents()[0].GetResource().Data = &anypb.Any{
		TypeUrl: "type.googleapis.com/shop.v1.Order", Value: []byte{0x0a, 40, 'c', 'u', 't'}}

	cases := map[string]struct {
		script       []Line
		typed        string
		told         []string // of a watch
		code, reason string
	}{
		"mode":       {[]Line{Begins(9, "RECALLED")}, "", nil, "UNIMPLEMENTED", "UNKNOWN_MESSAGE"},
		"response":   {then(Unheard()), "", []string{"PRESENT", "SYNCED"}, "UNIMPLEMENTED", "UNKNOWN_MESSAGE"},
		"early":      {[]Line{Unheard()}, "", nil, "UNIMPLEMENTED", "UNKNOWN_MESSAGE"},
		"state":      {then(Tells(9, "HIDDEN", "newer/b", 3, "token-3", nil, nil)), "", []string{"PRESENT", "SYNCED"}, "UNIMPLEMENTED", "UNKNOWN_MESSAGE"},
		"ahead":      {[]Line{state[0], Tells(9, "HIDDEN", "newer/b", 1, "", nil, nil)}, "", nil, "UNIMPLEMENTED", "UNKNOWN_MESSAGE"},
		"type":       {then(Tells(present, "PRESENT", "newer/b", 3, "token-3", order, map[string]any{"orderId": "7"})), "", []string{"PRESENT", "SYNCED"}, "FAILED_PRECONDITION", "WRONG_TYPE"},
		"untyped":    {append(slices.Clone(typed), noted("newer/b", 3, "token-3", Note(1))), "shop.v1.Order", []string{"SYNCED"}, "FAILED_PRECONDITION", "WRONG_TYPE"},
		"unreadable": {append(slices.Clone(typed), unreadable), "shop.v1.Order", []string{"SYNCED"}, "FAILED_PRECONDITION", "WRONG_TYPE"},
	}
	EachClient(t, func(t *testing.T, c *Client) {
		scripts := map[string][]Line{}
		for name, one := range cases {
			scripts[name] = one.script
		}
		w, s := scripted(t, c, scripts)
		opened := map[string]int{}
		for _, name := range slices.Sorted(maps.Keys(cases)) {
			one := cases[name]
			w.Collection = name
			for _, via := range c.Via {
				watch := w.Open(name+"-watch-"+via, Options{Via: via, Type: one.typed})
				w.final(watch, one.code, one.reason)
				var told []string
				for _, e := range watch.Events() {
					told = append(told, e.Kind)
				}
				if !slices.Equal(told, one.told) {
					t.Errorf("%s was told %v before its end\n%s", watch.ID, told, watch.tail())
				}
				w.final(w.Open(name+"-mirror-"+via, Options{Via: via, Type: one.typed, Mirror: true}), one.code, one.reason)
				opened[name] += 2
			}
		}
		time.Sleep(500 * time.Millisecond) // in which who is wrong comes back
		for name, want := range opened {
			if got := s.Opened(name); got != want {
				t.Errorf("%d watches of %s, whose errors are final, opened %d streams", want, name, got)
			}
		}
	})
}

// A session says what this client does not know: its watches end with an error, for good.
func TestContract_OfSessionsIsNewerThanTheClient(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		alone := Unheard()
		alone.Alone = true
		for _, via := range c.Via {
			if via != "session" && via != "websocket" {
				continue
			}
			w, s := scripted(t, c, map[string][]Line{
				"quiet": {Begins(watchroutev1.Started_SNAPSHOT, "SNAPSHOT"), noted("quiet/a", 2, "", Note(1)), Synced(2, "token-2")},
				"newer": {Begins(watchroutev1.Started_SNAPSHOT, "SNAPSHOT"), Synced(2, "token-2"), alone},
			})
			w.Collection = "quiet"
			all := []*Watch{w.Open("quiet", Options{Via: via}), w.Open("mirror", Options{Via: via, Mirror: true})}
			w.Live(all, settleTime)
			w.Collection = "newer"
			all = append(all, w.Open("newer", Options{Via: via}))
			for _, watch := range all {
				w.final(watch, "UNIMPLEMENTED", "UNKNOWN_MESSAGE")
			}
			time.Sleep(500 * time.Millisecond) // in which who is wrong comes back
			if quiet, newer := s.Opened("quiet"), s.Opened("newer"); quiet != 2 || newer != 1 {
				t.Errorf("over %s, 3 watches whose errors are final opened %d streams", via, quiet+newer)
			}
		}
	})
}

// A server of a newer contract has a further reason why what was told is void: it is void, all
// the same.
func TestContract_HasAResetThatTheClientDoesNotKnow(t *testing.T) {
	script := []Line{Begins(watchroutev1.Started_SNAPSHOT, "SNAPSHOT"), noted("newer/a", 1, "", Note(1)), noted("newer/b", 1, "", Note(1)), Synced(2, "token-2"),
		Resets(9, "FORETOLD"), noted("newer/b", 3, "", Note(3)), Synced(3, "token-3")}
	after := &Journal{}
	b, err := json.Marshal(Note(3))
	if err != nil {
		t.Fatal(err)
	}
	after.Add(Change{3, "newer/b", plain(b)})
	EachClient(t, func(t *testing.T, c *Client) {
		w, _ := scripted(t, c, map[string][]Line{"newer": script})
		w.Collection = "newer"
		for _, via := range c.Via {
			watch, mirror := w.Open("watch-"+via, Options{Via: via, Journal: after}), w.Open("mirror-"+via, Options{Via: via, Mirror: true, Journal: after})
			w.settle([]*Watch{mirror})
			watch.Unchecked = true // of what was told before the reset there is no journal
			w.Await(watch, settleTime, "SYNCED behind RESET", func(reports []Report) bool {
				var told []string
				for _, r := range reports {
					if r.Event != nil {
						told = append(told, r.Event.Kind)
					}
				}
				// What a program has not asked for yet when the reset comes need not be told.
				return len(told) >= 3 && slices.Equal(told[len(told)-3:], []string{"RESET", "PRESENT", "SYNCED"})
			})
			if states := watch.States(); !watch.Has("RESETTING") || watch.Has("BACKING_OFF") || states[len(states)-1] != "LIVE" {
				t.Errorf("%s went through %v", watch.ID, states)
			}
		}
	})
}

// A server of a newer contract adds fields, and causes: they are no matter to this client.
func TestContract_HasFieldsThatTheClientDoesNotKnow(t *testing.T) {
	const present, absent = watchroutev1.State_PRESENT, watchroutev1.State_ABSENT
	note := func(n int) map[string]any {
		v := Note(n)
		v["overture"] = map[string]any{"of": "the program"}
		return v
	}
	text := func(note map[string]any) string { s := &Scripted{}; return plain(s.json(note)) }
	dawn := Tells(present, "PRESENT", "newer/a", 4, "token-4", &watchroutev1.Json{Text: text(note(4))}, note(4))
	dawn.Message.GetEvents().GetEvents()[0].Cause, dawn.JSON["cause"] = 9, "FORETOLD"
	order := func(revision uint64) (*shopv1.Order, map[string]any) {
		return &shopv1.Order{OrderId: "7", CustomerId: itoa(revision), Status: shopv1.OrderStatus_SHIPPED},
			map[string]any{"orderId": "7", "customerId": itoa(revision), "status": "SHIPPED"}
	}
	ordered := func(revision uint64, token string) Line {
		value, data := order(revision)
		addFields(value.ProtoReflect())
		shown := maps.Clone(data)
		shown["overture"] = map[string]any{"deep": true}
		return Tells(present, "PRESENT", "orders/7", revision, token, value, shown)
	}
	scripts := map[string][]Line{
		"newer": {Begins(watchroutev1.Started_SNAPSHOT, "SNAPSHOT"), noted("newer/a", 1, "", note(1)), noted("newer/b", 2, "", note(2)), Synced(2, "token-2"),
			noted("newer/c", 3, "", note(3)), dawn, Tells(absent, "ABSENT", "newer/b", 5, "token-5", nil, nil), Bookmarks(5, "token-5")},
		"orders": {Begins(watchroutev1.Started_SNAPSHOT, "SNAPSHOT"), ordered(2, ""), Synced(2, "token-2"), ordered(3, "token-3")},
	}
	for _, script := range scripts {
		for i := range script {
			script[i] = script[i].Newer()
		}
	}
	notes, orders := &Journal{}, &Journal{}
	notes.Add(Change{1, "newer/a", text(note(1))}, Change{2, "newer/b", text(note(2))}, Change{3, "newer/c", text(note(3))},
		Change{4, "newer/a", text(note(4))}, Change{5, "newer/b", ""})
	for _, revision := range []uint64{2, 3} {
		value, _ := order(revision)
		shown, err := protojson.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		orders.Add(Change{revision, "orders/7", plain(shown)})
	}
	EachClient(t, func(t *testing.T, c *Client) {
		w, s := scripted(t, c, scripts)
		var all []*Watch
		open := func(id string, o Options) { all = append(all, w.Open(id, o)) }
		for _, via := range c.Via {
			for _, mirror := range []bool{false, true} {
				id := map[bool]string{false: "watch-", true: "mirror-"}[mirror] + via
				w.Collection = "newer"
				open("notes-"+id, Options{Via: via, Every: true, Mirror: mirror, Journal: notes})
				w.Collection = "orders"
				open("orders-"+id, Options{Via: via, Every: true, Mirror: mirror, Journal: orders, Type: "shop.v1.Order"})
			}
		}
		w.settle(all)
		for _, watch := range all {
			if states := watch.States(); len(states) != 3 {
				t.Errorf("%s went through %v", watch.ID, states)
			}
		}
		if got := s.Opened("newer") + s.Opened("orders"); got != len(all) {
			t.Errorf("%d watches opened %d streams", len(all), got)
		}
	})
}
