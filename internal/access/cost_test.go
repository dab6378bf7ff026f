package access

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/reflect/protoregistry"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/internal/wire"
)

// shop is a Control whose principals see what is theirs of `things`, and its log.
type shop struct {
	b       *testing.B
	log     *local.Log
	schemas *schema.Registry
	control *Control
}

const shopSecret = "a secret of at least thirty-two bytes"

func newShop(b *testing.B) *shop {
	s := &shop{b: b, log: changelogtest.NewMem(b), schemas: must(schema.NewRegistry(protoregistry.GlobalFiles))}
	issuer := Issuer{Issuer: testIssuer, Audiences: []string{"watchroute"}, SecretFile: file(b, []byte(shopSecret)), OperatorRole: "root"}
	s.control = must(New(b.Context(), ControlConfig{Log: s.log, Schemas: s.schemas, Required: true, Credentials: Config{Issuers: []Issuer{issuer}},
		Limits: Limits{PrincipalWatches: 1000},
		Collections: []*watchroutev1.CollectionAccess{{Collection: "things", Rules: &watchroutev1.AccessRules{
			Get: `data.owner == auth.sub`, Write: `"writer" in auth.roles && data.owner != ""`}}}}))
	b.Cleanup(s.control.Close)
	return s
}

func shopToken(subject string, roles ...string) string {
	return sign(jwt.SigningMethodHS256, []byte(shopSecret), nil, claimsOf(jwt.MapClaims{"sub": subject, "roles": roles}))
}

func (s *shop) enter(token string) *Caller {
	c, err := s.control.Enter(s.b.Context(), Presented{Credential: Credential{Secret: token}})
	if err != nil {
		s.b.Fatal(err)
	}
	return c
}

// thing is a write to what is somebody's.
func thing(owner string, n int) changelog.Write {
	return changelog.Write{Collection: "things", Ops: []changelog.Op{opJSON(owner, fmt.Sprintf(`{"owner":%q,"n":%d}`, owner, n))}}
}

// BenchmarkAccess says what a write costs until the one watch that it concerns has its
// frame, where everybody watches the collection and a rule lets each see what is theirs.
// The last part of a name is how many they are. What opening a watch takes has the check
// of its credential in it.
func BenchmarkAccess(b *testing.B) {
	for _, n := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("principals/%d", n), func(b *testing.B) { principals(b, n) })
	}
}

func principals(b *testing.B, watches int) {
	s := newShop(b)
	h := must(hub.New(hub.Config{Log: s.log, Schemas: s.schemas, Access: s.control, Heartbeat: time.Hour})) // nothing wakes anybody but writes
	b.Cleanup(h.Close)
	s.control.Attach(h)
	owner := func(i int) string { return fmt.Sprintf("u%06d", i) }
	// As many names are written beside any number of watches.
	const written = 100
	some := func(n int) int { return n % written * (watches / written) }
	put := func(n int) uint64 {
		res, err := s.log.Write(b.Context(), thing(owner(some(n)), n))
		if err != nil {
			b.Fatal(err)
		}
		return res.Revision
	}
	revision := uint64(0)
	for n := range written {
		revision = put(n)
	}
	if err := h.AwaitRevision(b.Context(), "things", revision); err != nil {
		b.Fatal(err)
	}

	tokens := make([]string, watches)
	for i := range tokens {
		tokens[i] = shopToken(owner(i))
	}
	woken := make(chan struct{}, 1)
	reader := hub.NewReader(func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	var frames []hub.Frame
	next := func(w *hub.Watch) (events int) {
		var err error
		if frames, err = w.Next(frames[:0], hub.Unlimited); err != nil {
			b.Fatal(err)
		}
		for _, f := range frames {
			events += f.Events
		}
		return events
	}
	before, begun := heap(), time.Now()
	for i, token := range tokens {
		w, err := h.Open(With(b.Context(), s.enter(token)), hub.Request{
			Watch: &watchroutev1.WatchRequest{Parent: "things", Start: &watchroutev1.WatchRequest_From{From: watchroutev1.Start_NOW}},
			Codec: wire.JSON, Transport: "sse", Reader: reader, Owner: i})
		if err != nil {
			b.Fatal(err)
		}
		for next(w); len(frames) > 0; next(w) {
		}
	}
	opening, bytes := time.Since(begun), heap()-before
	taken := reader.Take(nil)

	b.ReportAllocs()
	n := written
	for b.Loop() {
		n++
		put(n)
		for events := 0; events == 0; {
			<-woken
			taken = reader.Take(taken[:0])
			for _, w := range taken {
				if w.Owner() != some(n) {
					b.Fatalf("%v was woken by what is %d's", w.Owner(), some(n))
				}
				events += next(w)
			}
		}
	}
	b.ReportMetric(float64(opening.Nanoseconds())/float64(watches), "ns/open")
	b.ReportMetric(float64(bytes)/float64(watches), "B/watch")
}

// heap gives how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkGuard is a write that is asked for, to a log in memory.
func BenchmarkGuard(b *testing.B) {
	for _, c := range []struct{ name, role string }{{"operator", "root"}, {"rule", "writer"}} {
		b.Run(c.name, func(b *testing.B) {
			s := newShop(b)
			ctx := With(b.Context(), s.enter(shopToken("w", c.role)))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				guard, _, err := s.control.Guard(ctx, "things", "grpc")
				if err != nil {
					b.Fatal(err)
				}
				w := thing(fmt.Sprintf("u%06d", n%100), n)
				w.Guard = guard
				if _, err := s.log.Write(ctx, w); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}
