package watchroute_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"

	watchroute "github.com/watchroute/watchroute/clients/go"
	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// tap is a server whose streams begin as start, or resumed, and go on as the test says.
type tap struct {
	say chan *watchroutev1.WatchResponse
	cut chan error
}

func newTap() *tap {
	return &tap{say: make(chan *watchroutev1.WatchResponse), cut: make(chan error)}
}

func (p *tap) conn() *fake {
	return &fake{watch: func(ctx context.Context, r *watchroutev1.WatchRequest, send func(*watchroutev1.WatchResponse)) error {
		begin := start
		if t := r.GetResumeToken(); t != "" {
			begin = says{started(resumed, t)}
		}
		for _, m := range begin {
			send(m)
		}
		for {
			select {
			case m := <-p.say:
				send(m)
			case err := <-p.cut:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}}
}

type note struct {
	N int `json:"n"`
}

// mirrored runs a test with a mirror that is synced, and the changes that it told.
func mirrored(t *testing.T, f func(t *testing.T, p *tap, m *watchroute.Mirror[note], changes func() []string)) {
	synctest.Test(t, func(t *testing.T) {
		p := newTap()
		client := watchroute.New(p.conn())
		var mu sync.Mutex
		var told []string
		m, err := watchroute.NewMirror(t.Context(), client, "notes", watchroute.MirrorConfig[note]{
			Indexes: map[string]func(watchroute.Resource[note]) []string{
				"parity": func(r watchroute.Resource[note]) []string { return []string{fmt.Sprint(r.Value.N % 2)} },
			},
			OnChange: func(c watchroute.Change[note]) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, changeText(c))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Synced(t.Context()); err != nil {
			t.Fatal(err)
		}
		f(t, p, m, func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			out := told
			told = nil
			return out
		})
		m.Close()
		m.Close()
		_ = client.Close()
		if m.Err() == nil {
			t.Errorf("a closed mirror has the error %v", m.Err())
		}
	})
}

func changeText(c watchroute.Change[note]) string {
	text := func(r *watchroute.Resource[note]) string {
		if r == nil {
			return "-"
		}
		return fmt.Sprintf("%s:%d", r.Name, r.Value.N)
	}
	return fmt.Sprintf("%s > %s %s", text(c.Before), text(c.After), c.Cause)
}

func listed(m *watchroute.Mirror[note]) (out []string) {
	for _, r := range m.List() {
		out = append(out, fmt.Sprintf("%s:%d", r.Name, r.Value.N))
	}
	return out
}

func n(value int) string { return fmt.Sprintf(`{"n":%d}`, value) }

func TestMirror_ShowsWhatATokenStandsFor(t *testing.T) {
	mirrored(t, func(t *testing.T, p *tap, m *watchroute.Mirror[note], changes func() []string) {
		expect(t, changes(), "- > notes/a:1 ENTERED")
		p.say <- events(2, "", present("a", 2, n(2)), present("b", 2, n(3)))
		expect(t, changes())
		expect(t, listed(m), "notes/a:1")
		waited := make(chan error, 1)
		go func() { waited <- m.WaitFor(t.Context(), 3) }()
		synctest.Wait()
		p.say <- events(3, "t3", absent("a", 3), present("c", 3, n(5)))
		if err := <-waited; err != nil {
			t.Error(err)
		}
		expect(t, changes(), "notes/a:1 > notes/a:2 UPDATED", "- > notes/b:3 UPDATED", "notes/a:2 > - DELETED", "- > notes/c:5 UPDATED")
		expect(t, listed(m), "notes/b:3", "notes/c:5")
		if m.Revision() != 3 || m.Len() != 2 || m.State() != watchroute.Live {
			t.Errorf("revision %d, %d resources, %v", m.Revision(), m.Len(), m.State())
		}
		if odd, even := m.ByIndex("parity", "1"), m.ByIndex("parity", "0"); len(odd) != 2 || odd[0].Name != "notes/b" || len(even) != 0 {
			t.Errorf("by index: %v, %v", odd, even)
		}
		if byID, ok := m.Get("c"); !ok || byID.Name != "notes/c" {
			t.Errorf("by id: %v, %v", byID, ok)
		}
		if _, ok := m.Get("notes/a"); ok {
			t.Error("what was removed is there")
		}
	})
}

func TestMirror_KeepsWhatItHasUntilANewStateIsComplete(t *testing.T) {
	mirrored(t, func(t *testing.T, p *tap, m *watchroute.Mirror[note], changes func() []string) {
		p.say <- events(2, "t2", present("b", 2, n(2)), present("c", 2, n(3)))
		changes()
		p.say <- reset(watchroutev1.Reset_ACCESS)
		p.say <- events(1, "", present("a", 1, n(1)))
		synctest.Wait()
		expect(t, listed(m), "notes/a:1", "notes/b:2", "notes/c:3")
		p.cut <- gone
		// The server begins its own state: only a. What is the same is not told.
		time.Sleep(time.Second)
		expect(t, changes(), "notes/b:2 > - LEFT", "notes/c:3 > - LEFT")
		expect(t, listed(m), "notes/a:1")
	})
}

func TestMirror_CallbacksComeAndGo(t *testing.T) {
	mirrored(t, func(t *testing.T, p *tap, m *watchroute.Mirror[note], first func() []string) {
		var told [3][]string
		listen := func(i int) (stop func()) {
			return m.OnChange(func(c watchroute.Change[note]) {
				told[i] = append(told[i], changeText(c))
				if c.After != nil {
					c.After.Labels, c.After.Value.N = nil, 99 // is its own
				}
			})
		}
		heard := func(i int) []string {
			synctest.Wait()
			out := told[i]
			told[i] = nil
			return out
		}
		var stopSecond func()
		m.OnChange(func(watchroute.Change[note]) {
			if stopSecond == nil {
				stopSecond = listen(1)
			}
		})
		stop := listen(0)
		p.say <- events(2, "t2", present("a", 2, n(2)), present("b", 2, n(2)))
		both := []string{"notes/a:1 > notes/a:2 UPDATED", "- > notes/b:2 UPDATED"}
		expect(t, heard(0), both...)
		expect(t, heard(1)) // these were shown before
		expect(t, first()[1:], both...)
		p.say <- events(3, "t3", present("a", 3, n(3)))
		expect(t, heard(0), "notes/a:2 > notes/a:3 UPDATED")
		expect(t, heard(1), "notes/a:2 > notes/a:3 UPDATED")
		stop()
		stop()
		p.say <- events(4, "t4", absent("b", 4))
		expect(t, heard(0))
		expect(t, heard(1), "notes/b:2 > - DELETED")
		stopSecond()
		// One that goes while changes are told hears no more of them.
		var stopThird func()
		stopThird = m.OnChange(func(c watchroute.Change[note]) {
			told[2] = append(told[2], changeText(c))
			stopThird()
		})
		p.say <- events(5, "t5", present("b", 5, n(5)), present("c", 5, n(5)))
		expect(t, heard(2), "- > notes/b:5 UPDATED")
		expect(t, heard(1))
		expect(t, listed(m), "notes/a:3", "notes/b:5", "notes/c:5")
	})
}

func TestMirror_TellsOfAStateWhatDiffersInTheOrderOfNames(t *testing.T) {
	mirrored(t, func(t *testing.T, p *tap, m *watchroute.Mirror[note], changes func() []string) {
		changes()
		p.say <- events(2, "t2", present("d", 2, n(4)), present("b", 2, n(2)))
		changes()
		p.say <- reset(watchroutev1.Reset_EPOCH)
		p.say <- events(1, "", present("e", 1, n(5)), present("d", 1, n(4)), present("a", 1, n(7)), present("c", 1, n(3)))
		expect(t, changes())
		p.say <- snapshotEnd(1, "u1")
		expect(t, changes(), "notes/a:1 > notes/a:7 UPDATED", "notes/b:2 > - LEFT", "- > notes/c:3 ENTERED", "- > notes/e:5 ENTERED")
	})
}

func TestMirror_SaysWhenItWasLive(t *testing.T) {
	mirrored(t, func(t *testing.T, p *tap, m *watchroute.Mirror[note], _ func() []string) {
		began := m.LiveAsOf()
		time.Sleep(10 * time.Second)
		p.say <- bookmark(5, "t5")
		synctest.Wait()
		if d := m.LiveAsOf().Sub(began); d != 10*time.Second || m.Revision() != 5 {
			t.Errorf("live as of %v after the beginning, revision %d", d, m.Revision())
		}
		p.cut <- gone
		synctest.Wait()
		if d := m.LiveAsOf().Sub(began); d != 10*time.Second || m.State() == watchroute.Live {
			t.Errorf("live as of %v after the beginning, %v", d, m.State())
		}
		expect(t, listed(m), "notes/a:1")
	})
}

func TestMirror_ASlowCallbackHoldsUpItsProgressAndNoReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTap()
		client := watchroute.New(p.conn())
		release := make(chan struct{})
		m, err := watchroute.NewMirror(t.Context(), client, "notes", watchroute.MirrorConfig[note]{OnChange: func(watchroute.Change[note]) { <-release }})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Synced(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.say <- events(2, "t2", present("a", 2, n(2)))
		synctest.Wait()
		expect(t, listed(m), "notes/a:1")
		close(release)
		synctest.Wait()
		expect(t, listed(m), "notes/a:2")
		m.Close()
		_ = client.Close()
	})
}

func TestMirror_HandsOutCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTap()
		conn := p.conn()
		conn.watch = func(ctx context.Context, _ *watchroutev1.WatchRequest, send func(*watchroutev1.WatchResponse)) error {
			data, _ := anypb.New(&shopv1.Order{OrderId: "1", CustomerId: "42"})
			send(started(snapshot, ""))
			send(events(1, "", &watchroutev1.Event{State: watchroutev1.State_PRESENT,
				Resource: &watchroutev1.Resource{Name: "orders/1", Revision: 1, Data: data, Labels: map[string]string{"k": "v"}}}))
			send(snapshotEnd(1, "t1"))
			<-ctx.Done()
			return ctx.Err()
		}
		client := watchroute.New(conn)
		m, err := watchroute.NewMirror(t.Context(), client, "orders", watchroute.MirrorConfig[*shopv1.Order]{OnChange: func(c watchroute.Change[*shopv1.Order]) {
			c.After.Value.CustomerId = "changed"
		}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 2 {
			r, _ := m.Get("1")
			if r.Value.CustomerId != "42" || r.Labels["k"] != "v" {
				t.Errorf("got %v", r)
			}
			r.Value.CustomerId, r.Labels["k"] = "changed", "changed"
			m.List()[0].Value.CustomerId = "changed"
		}
		m.Close()
		_ = client.Close()
	})
}

func TestMirror_EndsWithItsWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTap()
		client := watchroute.New(p.conn())
		m, err := watchroute.NewMirror(t.Context(), client, "notes", watchroute.MirrorConfig[note]{})
		if err != nil {
			t.Fatal(err)
		}
		waited := make(chan error, 1)
		go func() { waited <- m.WaitFor(t.Context(), 77) }()
		synctest.Wait()
		p.say <- events(2, "t2", present("a", 2, `{"n":"no number"}`))
		<-m.Done()
		if err := <-waited; !watchroute.HasReason(err, watchroute.ReasonWrongType) || m.Err() != err {
			t.Errorf("ended with %v, told %v", m.Err(), err)
		}
		expect(t, listed(m), "notes/a:1")
		_ = client.Close()
	})
}

func TestMirror_BeginsWithTheState(t *testing.T) {
	client := watchroute.New(newTap().conn())
	defer client.Close()
	for _, option := range []watchroute.WatchOption{watchroute.FromNow(), watchroute.ResumeToken("t"), watchroute.AfterRevision(1), watchroute.KeepToken(&memory{}, "k")} {
		_, err := watchroute.NewMirror(t.Context(), client, "notes", watchroute.MirrorConfig[note]{}, option)
		if e, ok := errors.AsType[*watchroute.Error](err); !ok || e.Code != codes.InvalidArgument {
			t.Errorf("got %v", err)
		}
	}
}

// Whatever is cut, a mirror shows states that the log had, and ends with the last; its
// callbacks lead from nothing to what it shows.
func TestMirror_FollowsTheLogAcrossCuts(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 2))
		m := newModel(seed, 1+random.IntN(40), random.IntN(10))
		client := watchroute.New(m.conn(), watchroute.WithBackoff(1, 1))
		built := map[string]string{}
		request := &watchroutev1.WatchRequest{Delta: seed%2 == 0}
		if seed%4 < 2 {
			request.Delivery = watchroutev1.Delivery_EVERY_CHANGE
		}
		var mirror *watchroute.Mirror[json.RawMessage]
		ready := make(chan struct{})
		mirror, err := watchroute.NewMirror(t.Context(), client, "notes", watchroute.MirrorConfig[json.RawMessage]{OnChange: func(c watchroute.Change[json.RawMessage]) {
			<-ready
			if c.Before != nil {
				if built[c.Before.Name] != string(c.Before.Value) {
					t.Errorf("seed %d: %s was %s before, not %s", seed, c.Before.Name, built[c.Before.Name], c.Before.Value)
				}
				delete(built, c.Before.Name)
			}
			if c.After != nil {
				built[c.After.Name] = string(c.After.Value)
			}
			if want := stateText(m.stateAt(mirror.Revision())); !slices.Equal(mirrorText(mirror), want) {
				t.Errorf("seed %d: at %d it shows %q, not %q", seed, mirror.Revision(), mirrorText(mirror), want)
			}
		}}, watchroute.Request(request))
		if err != nil {
			t.Fatal(err)
		}
		close(ready)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := mirror.WaitFor(ctx, m.head()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		cancel()
		mirror.Close()
		if want := stateText(m.stateAt(m.head())); !slices.Equal(mirrorText(mirror), want) || len(built) != len(want) {
			t.Errorf("seed %d: it shows %q, and told %v; not %q", seed, mirrorText(mirror), built, want)
		}
		_ = client.Close()
	}
}

func stateText(state map[string]entry) (out []string) {
	for _, e := range state {
		out = append(out, e.String())
	}
	slices.Sort(out)
	return out
}

func mirrorText(m *watchroute.Mirror[json.RawMessage]) (out []string) {
	for _, r := range m.List() {
		out = append(out, fmt.Sprintf("%s@%d%s", r.Name[len("notes/"):], r.Revision, r.Value))
	}
	slices.Sort(out)
	return out
}
