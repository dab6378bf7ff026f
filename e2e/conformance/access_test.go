package conformance

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/hostile"
	"github.com/watchroute/watchroute/e2e/process"
)

// guarded is a node that asks for credentials.
type guarded struct {
	*World
	secret []byte
}

const orderOwner = `data.owner == auth.sub || "writer" in auth.roles`

func newGuarded(t *testing.T, c *Client, clock *WallClock) *guarded {
	t.Helper()
	g := &guarded{secret: []byte(strings.Repeat("conform.", 8))}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{"secret": string(g.secret), "access.yaml": `
issuers:
  - {issuer: shop, audiences: [watchroute], secret-file: "` + path("secret") + `", operator-role: operator, leeway: 1ms}
collections:
  - collection: notes
    rules: {get: '` + orderOwner + `', write: '"writer" in auth.roles'}
`} {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	node := process.Start(t, process.Options{Args: []string{"--heartbeat", "1s", "--auto-create", "--access", path("access.yaml"),
		"--audit-log", "off", "--call-rate", "0", "--connection-rate", "0", "--failure-rate", "0"}})
	g.World = NewWorld(t, c, Setup{Node: node, Clock: clock})
	g.Secrets = []string{"eyJ"} // how each JWT begins
	g.Writer.Credential = g.token("writer", time.Hour, "writer", "operator")
	return g
}

// token makes a JWT.
func (g *guarded) token(sub string, life time.Duration, roles ...string) string {
	now := time.Now()
	return hostile.JWT(map[string]any{"alg": "HS256", "typ": "JWT"}, map[string]any{"iss": "shop", "aud": "watchroute", "sub": sub, "roles": roles,
		"jti": sub + "-" + now.Format(time.RFC3339Nano), "iat": now.Unix(), "exp": float64(now.Add(life).UnixMilli()) / 1000}, g.secret)
}

func owned(owner string, n int) map[string]any {
	note := Note(n)
	note["owner"] = owner
	return note
}

func visibleTo(owner string) func(Change) bool {
	return func(c Change) bool { return strings.Contains(c.Data, `"owner":"`+owner+`"`) }
}

// What leaves the sight of a caller is ABSENT, LEFT; what comes into it PRESENT, ENTERED.
func TestAccess_IsLostAndRegained(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		g := newGuarded(t, c, nil)
		g.Driver.Credential(g.token("ada", time.Hour))
		g.Write(map[string]any{"a": owned("ada", 1), "b": owned("ben", 1)})
		all := g.OpenAll()
		g.Live(all, settleTime)
		g.Put("a", owned("ben", 2))
		g.Put("b", owned("ada", 2))
		g.Put("a", owned("ben", 3)) // nothing of it is told
		g.Put("a", owned("ada", 4))
		view := g.View(visibleTo("ada"))
		for _, watch := range all {
			watch.Ledger.Journal = view
		}
		g.settle(all)
		for _, watch := range all {
			if !watch.Ledger.Every {
				continue
			}
			var causes []string
			for _, e := range watch.Events() {
				if e.Name == "notes/a" || e.Name == "notes/b" {
					causes = append(causes, e.Name+" "+e.Kind+" "+e.Cause)
				}
			}
			want := []string{"notes/a PRESENT ENTERED", "notes/a ABSENT LEFT", "notes/b PRESENT ENTERED", "notes/a PRESENT ENTERED"}
			if !slices.Equal(causes, want) {
				t.Errorf("%s was told %v", watch.ID, causes)
			}
		}
	})
}

// Rules that change in the middle of a stream reset it, ACCESS; while a client is away, the
// token is of another scope.
func TestReset_AccessAndScope(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		g := newGuarded(t, c, nil)
		g.Driver.Credential(g.token("ada", time.Hour))
		g.Write(map[string]any{"a": owned("ada", 1), "b": owned("ben", 1), "c": owned("cleo", 1)})
		all := g.OpenAll()
		g.Live(all, settleTime)
		rule := func(get string) {
			g.Operate("PUT", "/v1/system.collections/notes", map[string]any{"data": map[string]any{"collection": "notes",
				"rules": map[string]any{"get": get, "write": `"writer" in auth.roles`}}})
		}
		view := func(visible func(Change) bool) {
			v := g.View(visible)
			for _, watch := range all {
				watch.Ledger.Journal = v
			}
		}
		// What was told before is checked while it is still what is seen.
		view(visibleTo("ada"))
		g.settle(all)
		rule(`data.owner == auth.sub || data.owner == "ben"`)
		adaAndBen := func(c Change) bool { return visibleTo("ada")(c) || visibleTo("ben")(c) }
		for _, watch := range all {
			g.Await(watch, settleTime, "RESETTING and LIVE again", func(reports []Report) bool {
				was := false
				for _, r := range reports {
					was = was || r.State == "RESETTING"
				}
				return was && lastState(reports) == "LIVE"
			})
		}
		g.Put("b", owned("ben", 2))
		view(adaAndBen)
		g.settle(all)
		// Between two polls who polls is away, as below.
		polls, streams := split(all, func(watch *Watch) bool { return watch.Via == "long-poll" })
		expectReset(t, streams, "ACCESS")
		expectReset(t, polls, "ACCESS", "SCOPE")

		g.Proxy.Refuse()
		rule(`data.owner == auth.sub || data.owner == "cleo"`)
		g.Put("c", owned("cleo", 3))
		view(func(c Change) bool { return visibleTo("ada")(c) || visibleTo("cleo")(c) })
		for _, watch := range all {
			watch.Ledger.Resets = nil
		}
		g.Proxy.Accept()
		g.settle(all)
		expectReset(t, all, "SCOPE")
	})
}

// A credential of 3 s is renewed twice over: a session and a WebSocket go on, other streams
// come back at once.
func TestCredential_Expires(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		g := newGuarded(t, c, nil)
		life := func() string { return g.token("ada", 8*time.Second) }
		g.Driver.Credential(life())
		g.Put("a", owned("ada", 1))
		all := g.OpenAll()
		for _, watch := range all {
			watch.Allowed = merged(watch.Allowed, atOnce)
		}
		g.Live(all, settleTime)
		for n := range longer(11, 40) {
			time.Sleep(time.Second) // the life of credentials
			g.Driver.Credential(life())
			g.Put("a", owned("ada", n+2))
		}
		g.Settle(all)
		for _, watch := range all {
			states := watch.States()
			switch watch.Via {
			case "session", "websocket":
				if len(states) != 3 {
					t.Errorf("%s did not go on under a fresh credential: %v\n%s", watch.ID, states, watch.tail())
				}
			case "long-poll", "ladder":
			default:
				if !slices.Contains(states, "RESUMING") {
					t.Errorf("%s never came back with a fresh credential: %v", watch.ID, states)
				}
			}
		}
	})
}

// split gives those watches of which something is true, and the others.
func split(all []*Watch, is func(*Watch) bool) (those, others []*Watch) {
	for _, watch := range all {
		if is(watch) {
			those = append(those, watch)
		} else {
			others = append(others, watch)
		}
	}
	return those, others
}

func merged(all ...Exceptions) Exceptions {
	out := Exceptions{}
	for _, one := range all {
		for step := range one {
			out[step] = true
		}
	}
	return out
}

func TestCredential_IsRevoked(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		g := newGuarded(t, c, nil)
		g.Driver.Credential(g.token("ada", time.Hour))
		g.Put("a", owned("ada", 1))
		all := g.OpenAll()
		g.Live(all, settleTime)
		g.settle(all)
		g.Operate("PUT", "/v1/system.revocations/ada", map[string]any{"data": map[string]any{"revocationId": "ada", "subject": "ada"}})
		for _, watch := range all {
			watch.Allowed = merged(watch.Allowed, atOnce)
			f := g.Ended(watch, settleTime)
			if f.Code != "UNAUTHENTICATED" || f.Reason != "CREDENTIAL_REVOKED" {
				t.Errorf("%s ended with %+v", watch.ID, f)
			}
		}
	})
}

func TestCredential_IsMissing(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		g := newGuarded(t, c, nil)
		g.Put("a", owned("ada", 1))
		for _, watch := range g.OpenAll() {
			watch.Unchecked = true
			f := g.Ended(watch, settleTime)
			if f.Code != "UNAUTHENTICATED" || f.Reason != "CREDENTIAL_MISSING" {
				t.Errorf("%s ended with %+v", watch.ID, f)
			}
		}
	})
}

// A token is revoked, and the provider has another one: the watches go on under it.
func TestCredential_IsReplaced(t *testing.T) {
	EachClient(t, func(t *testing.T, c *Client) {
		g := newGuarded(t, c, nil)
		g.Driver.Credential(g.token("ada", time.Hour))
		g.Put("a", owned("ada", 1))
		all := g.OpenAll()
		for _, watch := range all {
			watch.Allowed = merged(watch.Allowed, atOnce)
		}
		g.Live(all, settleTime)
		g.settle(all)
		before := time.Now().Add(2 * time.Second).Truncate(time.Second)
		time.Sleep(time.Until(before.Add(100 * time.Millisecond))) // tokens are issued in whole seconds
		g.Driver.Credential(g.token("ada", time.Hour))
		if answer := g.Driver.Call(map[string]any{"op": "get", "name": "notes/a"}); answer.Error != nil {
			t.Fatalf("%+v", answer.Error)
		}
		g.Operate("PUT", "/v1/system.revocations/old", map[string]any{"data": map[string]any{"revocationId": "old", "subject": "ada", "issuedBefore": before.UTC().Format(time.RFC3339)}})
		for _, watch := range all {
			if watch.Via == "long-poll" {
				continue // a poll that ended by itself since then has taken the new token already, and goes on
			}
			g.Await(watch, settleTime, "RESUMING and LIVE", func(reports []Report) bool {
				n := 0
				for _, r := range reports {
					if r.State == "LIVE" {
						n++
					}
				}
				return n > 1 && lastState(reports) == "LIVE"
			})
		}
		g.Put("a", owned("ada", 2))
		g.Settle(all)
	})
}
