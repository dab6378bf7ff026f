package transporttest

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/access"
	"github.com/watchroute/watchroute/internal/resource"
)

// renewable are the transports on whose streams a credential can be presented.
func renewable(k Kit) bool { return k.Session || webSocketWatch(k) }

func webSocketWatch(k Kit) bool { return k.is("WebSocket JSON") || k.is("WebSocket binary") }

// onHTTP are those that pages use, but for gRPC-Web, which has headers of its own.
func onHTTP(k Kit) bool { return k.URL || strings.HasPrefix(k.Name, "WebSocket") }

// Credentials are the scenarios about who calls.
var Credentials = []Scenario{
	{Name: "P10 who shows no credential is told so", Run: noCredential, Options: guarded, On: func(k Kit) bool { return !webSocketWatch(k) }},
	{Name: "P10 a WebSocket that shows no credential in time is closed", Run: noCredential, Options: guarded, // which takes 10 s
		On: func(k Kit) bool { return k.Name == "WebSocket JSON" || k.Name == "WebSocket binary" }},
	{Name: "P10 a credential that is none of ours does not count, and is not repeated", Run: badCredential, Options: guarded},
	{Name: "P10 an anonymous caller is asked by the rules where that is allowed", Run: anonymous, Options: Options{Guard: &Guard{Collections: bothCollections(func(collection string) *watchroutev1.CollectionAccess {
		return &watchroutev1.CollectionAccess{Collection: collection, Anonymous: true, Rules: &watchroutev1.AccessRules{Get: `data.customer_id == "" + auth.sub || data.customer_id == "anybody"`}}
	})}}},
	{Name: "P10 a stream ends when its credential does", Run: expiry, Options: guarded},
	{Name: "P10 a fresh credential lets a stream go on without a gap", Run: renewal, Options: guarded, On: renewable},
	{Name: "P10 a stream is nobody else's", Run: foreignRenewal, Options: guarded, On: renewable},
	{Name: "P10 the first message may be the credential", Run: firstMessage, Options: guarded, On: func(k Kit) bool { return renewable(k) || k.is("gRPC-Web WebSocket") }},
	{Name: "P10 a page presents a parameter or a cookie, and a header wins over them", Run: fromPages, Options: guarded, On: onHTTP},
	{Name: "P10 what is revoked ends, and nothing beside it", Run: revoked, Options: guarded},
}

func noCredential(c *Case) {
	c.Put("a", Value{Customer: ""})
	_, err := c.Try(c.Request())
	c.wantError("a watch without a credential", err, resource.CredentialMissing)
	_, err = c.get("a")
	c.wantError("Get without a credential", err, resource.CredentialMissing)
	ctx, cancel := c.callContext()
	defer cancel()
	_, err = c.Transport.Caller().Put(ctx, &watchroutev1.PutRequest{Resource: Value{}.resource(c.name("a"))})
	c.wantError("Put without a credential", err, resource.CredentialMissing)
}

func badCredential(c *Case) {
	c.Put("a", Value{Customer: "ann"})
	good := ann.token()
	for what, bad := range map[string]struct {
		credential string
		reason     resource.Reason
	}{
		"nonsense":              {"nonsense-of-somebody", resource.CredentialInvalid},
		"a forged token":        {person{Subject: "ann", Secret: strings.Repeat("not the secret ", 4)}.token(), resource.CredentialInvalid},
		"a token for others":    {person{Subject: "ann", Audience: "another service"}.token(), resource.CredentialInvalid},
		"a token without a sum": {good[:strings.LastIndexByte(good, '.')+1], resource.CredentialInvalid},
		"an unknown key":        {"wr_unknown_" + strings.Repeat("A", 43), resource.CredentialInvalid},
		"an old token":          {person{Subject: "ann", Lives: -time.Minute}.token(), resource.CredentialExpired},
	} {
		tap := &Tap{}
		x := c.dial(Dialer{Presented: Presented{Credential: bad.credential}, Tap: tap})
		_, err := x.Try(c.Request())
		c.wantError("a watch with "+what, err, bad.reason)
		_, err = x.get("a")
		c.wantError("Get with "+what, err, bad.reason)
		for _, text := range tap.received() {
			if strings.Contains(text, bad.credential) {
				c.Errorf("%s is repeated: %q", what, text)
			}
		}
		if tap.bytes == 0 {
			c.Error("nothing was kept")
		}
	}
}

func anonymous(c *Case) {
	at := c.Write(put("a", Value{Customer: "ann"}), put("b", Value{Customer: "anybody", Units: 1}))
	rd, hers := c.Watch(), c.as(ann).Watch()
	for _, rd := range []*Reader{rd, hers} {
		rd.UntilRevision(at)
	}
	rd.holds(map[string]Value{"b": {Customer: "anybody", Units: 1}})
	hers.holds(map[string]Value{"a": {Customer: "ann"}, "b": {Customer: "anybody", Units: 1}})
	c.sees([]string{"a", "b"}, "b")
}

// shortly opens a watch with a credential that does not last.
func (c *Case) shortly(p person, changes ...requestChange) *Reader {
	c.Helper()
	for p.Lives = 1500 * time.Millisecond; ; p.Lives *= 2 {
		rd, err := c.as(p).Try(c.Request(changes...))
		if err == nil && rd.stream != nil {
			return rd
		}
		if e := asError(err); e == nil || e.Reason != resource.CredentialExpired.String() || p.Lives > patience {
			c.Fatal(err)
		}
	}
}

func expiry(c *Case) {
	a := c.Put("a", Value{Customer: "ann"})
	long := c.as(ann).Watch(everyChange)
	began := time.Now()
	rd := c.shortly(ann, everyChange)
	c.wantError("a stream whose token has expired", rd.untilError(), resource.CredentialExpired)
	if took := time.Since(began); took > patience/2 {
		c.Errorf("it ended only after %v", took)
	}
	_, err := rd.c.Try(c.Request())
	c.wantError("another watch with it", err, resource.CredentialExpired)
	// With a fresh one it goes on.
	b := c.Put("b", Value{Customer: "ann"})
	fresh := c.as(ann)
	rd.Resume(fresh.Transport)
	rd.UntilRevision(b)
	rd.Want(startedSnapshot, did(entered, "a", a), "snapshot_end", startedResumed, did(created, "b", b))
	long.UntilRevision(b)
	long.Want(startedSnapshot, did(entered, "a", a), "snapshot_end", did(created, "b", b))
}

// authenticate presents another credential on the reader's stream.
func (r *Reader) authenticate(credential string) {
	r.c.Helper()
	stream := r.stream
	if b, ok := stream.(*begun); ok {
		stream = b.Stream
	}
	if err := stream.(Renewable).Authenticate(credential); err != nil {
		r.c.Fatal(err)
	}
}

func renewal(c *Case) {
	a := c.Put("a", Value{Customer: "ann"})
	// The one that is not renewed tells when the first credentials have expired. The other
	// one's was made before it.
	rd := c.shortly(ann, everyChange)
	old := c.shortly(ann)
	rd.authenticate(ann.token())
	b := c.Put("b", Value{Customer: "ann"})
	c.wantError("a stream whose token has expired", old.untilError(), resource.CredentialExpired)
	moved := c.Put("a", Value{Customer: "ben"})
	last := c.Put("c", Value{Customer: "ann"})
	rd.UntilRevision(last)
	rd.Want(startedSnapshot, did(entered, "a", a), "snapshot_end", did(created, "b", b), did(exited, "a", moved), did(created, "c", last))
	// One that lets its owner see more resets.
	more := ann
	more.Roles = warehouse.Roles
	rd.authenticate(more.token())
	rd.UntilKind(SnapshotEnd)
	rd.wantReset(did(entered, "b", b), did(entered, "a", moved), did(entered, "c", last), "snapshot_end")
	c.WantTruth(rd)
}

func foreignRenewal(c *Case) {
	a := c.Put("a", Value{Customer: "ann"})
	for credential, reason := range map[string]resource.Reason{ben.token(): resource.PermissionDenied, ann.of("acme").token(): resource.PermissionDenied,
		"nonsense": resource.CredentialInvalid, "": resource.CredentialMissing} {
		rd := c.as(ann).Watch()
		rd.UntilRevision(a)
		rd.authenticate(credential)
		c.wantError("a stream with another credential", rd.untilError(), reason)
		rd.Close()
	}
	c.Node.AwaitWatches(0)
}

func firstMessage(c *Case) {
	a := c.Put("a", Value{Customer: "ann"})
	x := c.dial(Dialer{Presented: Presented{First: ann.token()}})
	rd := x.Watch(everyChange)
	rd.UntilRevision(a)
	b := c.Put("b", Value{Customer: "ann"})
	c.Put("c", Value{Customer: "ben"})
	d := c.Put("d", Value{Customer: "ann"})
	rd.UntilRevision(d)
	rd.Want(startedSnapshot, did(entered, "a", a), "snapshot_end", did(created, "b", b), did(created, "d", d))
	_, err := c.dial(Dialer{Presented: Presented{First: "nonsense"}}).Try(c.Request())
	c.wantError("a first message that is no credential of ours", err, resource.CredentialInvalid)
}

func fromPages(c *Case) {
	c.Write(put("a", Value{Customer: "ann"}), put("b", Value{Customer: "ben"}), put("e", Value{Customer: "eve"}))
	all := []string{"a", "b", "e"}
	a, b, e := ann.token(), ben.token(), eve.token()
	for _, way := range []struct {
		says string
		Presented
		sees string
	}{
		{"a parameter", Presented{Parameter: a}, "a"},
		{"a cookie", Presented{Cookie: a}, "a"},
		{"a cookie of an own page", Presented{Cookie: a, Origin: Dialer{}.url(c.Node)}, "a"},
		{"a header beside the others", Presented{Credential: e, Parameter: a, Cookie: b}, "e"},
		{"a parameter beside a cookie", Presented{Parameter: b, Cookie: a}, "b"},
	} {
		if strings.Contains(c.Kit.Name, over) && way.Origin != "" {
			way.Origin = Dialer{TLS: true}.url(c.Node)
		}
		x := c.dial(Dialer{Presented: way.Presented})
		rd := x.Watch()
		rd.UntilKind(SnapshotEnd)
		if _, ok := rd.State[c.name(way.sees)]; !ok || len(rd.State) != 1 {
			c.Errorf("%s: the watch holds %v", way.says, rd.State)
		}
		x.sees(all, way.sees)
		if c.Kit.Poll { // asks again
			rd.UntilRevision(c.Put(way.sees, Value{Customer: map[string]string{"a": "ann", "b": "ben", "e": "eve"}[way.sees], Units: rd.Messages}))
		}
		rd.Close()
	}
	// Another site's page must not use a cookie, which the browser sends along with it.
	const foreign = "https://elsewhere.example"
	_, err := c.dial(Dialer{Presented: Presented{Cookie: a, Origin: foreign}}).Try(c.Request())
	if e := asError(err); e == nil || e.HTTP != 403 {
		c.Errorf("a cookie of another site's page: %v", err)
	}
	// What it may show itself counts, bar WebSocket, which no browser guards.
	x := c.dial(Dialer{Presented: Presented{Parameter: a, Cookie: b, Origin: foreign}})
	rd, err := x.Try(c.Request())
	if strings.HasPrefix(c.Kit.Name, "WebSocket") {
		if e := asError(err); e == nil || e.HTTP != 403 {
			c.Errorf("a WebSocket of another site's page: %v", err)
		}
	} else if err != nil {
		c.Errorf("a parameter of another site's page: %v", err)
	} else {
		rd.Close()
	}
}

// apiKey is a key and its hash, which is dear.
var apiKey = sync.OnceValue(func() [2]string {
	key, hash, err := access.NewKey("ci")
	if err != nil {
		panic(err) // the id is good
	}
	return [2]string{key, hash}
})

func revoked(c *Case) {
	at := c.Put("a", Value{Customer: "ann"})
	key := apiKey()
	c.control(access.KeysCollection, "ci", &watchroutev1.ApiKey{Hash: key[1], Subject: "ann"})
	one, other := ann, ann
	one.ID, other.ID = "token-1", "token-2"
	far := person{Subject: "ann", ID: "far"}
	tenant := person{Subject: "ann", Tenant: "acme"}
	c.in("acme").Put("a", Value{Customer: "ann"})
	people := map[string]*Case{
		"by subject": c.as(ben), "by token": c.as(one), "by key": c.dial(Dialer{Presented: Presented{Credential: key[0]}}),
		"by address": c.dial(Dialer{Presented: Presented{Credential: far.token()}, From: net.IPv4(127, 0, 0, 2)}),
		"by tenant":  c.as(tenant), "nobody": c.as(other),
	}
	readers := map[string]*Reader{}
	for who, x := range people {
		readers[who] = x.Watch(everyChange)
		readers[who].UntilKind(SnapshotEnd)
		readers[who].said = nil
	}
	for _, step := range []struct {
		who    string
		revoke *watchroutev1.Revocation
	}{
		{"by subject", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_Subject{Subject: "ben"}}},
		{"by token", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_TokenId{TokenId: "token-1"}}},
		{"by key", nil},
		{"by address", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_Address{Address: "127.0.0.2/31"}}},
		{"by tenant", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_WholeTenant{WholeTenant: true}, Tenant: "acme"}},
	} {
		if step.revoke == nil {
			c.control(access.KeysCollection, "ci", nil)
		} else {
			c.control(access.RevocationsCollection, fmt.Sprintf("r%d", at), step.revoke)
		}
		rd := readers[step.who]
		err := rd.untilError()
		if step.revoke == nil && c.Kit.Poll {
			// Whoever comes later with a key that is gone has none.
			c.wantAny(step.who, err, resource.CredentialRevoked, resource.CredentialInvalid)
		} else {
			c.wantError(step.who, err, resource.CredentialRevoked)
		}
		_, err = people[step.who].Try(c.Request())
		c.wantAny(step.who+", again", err, resource.CredentialRevoked, resource.CredentialInvalid)
		delete(readers, step.who)
		// The others go on.
		at = c.Put("a", Value{Customer: "ann", Units: int(at)})
		for who, rd := range readers {
			if who == "by tenant" || who == "by subject" {
				continue
			}
			rd.UntilRevision(at)
			rd.Want(did(updated, "a", at))
		}
	}
}

// wantAny is wantError of either of two reasons.
func (c *Case) wantAny(what string, err error, reasons ...resource.Reason) {
	c.Helper()
	if e := asError(err); e == nil || !slices.ContainsFunc(reasons, func(r resource.Reason) bool { return r.String() == e.Reason }) {
		c.Errorf("%s: %v", what, err)
		return
	}
	c.wantError(what, err, reasons[slices.IndexFunc(reasons, func(r resource.Reason) bool { return r.String() == asError(err).Reason })])
}

// Limits are the scenarios about what one caller may take from the others.
var Limits = []Scenario{
	{Name: "limits: nobody has more watches than are allowed", Run: principalWatches, On: func(k Kit) bool { return !k.Poll },
		Options: Options{Guard: &Guard{Collections: bothCollections(shopRules), Limits: access.Limits{PrincipalWatches: 2}}}},
	{Name: "limits: nobody calls more often than is allowed", Run: callRate,
		Options: Options{Guard: &Guard{Collections: bothCollections(shopRules), Limits: access.Limits{Calls: 1.5}}}},
	{Name: "P3 a watch that gets too much is told less often, and nothing less", Run: eventRate, On: func(k Kit) bool { return !k.Poll },
		Options: Options{Guard: guarded.Guard, EventsPerSecond: 20}},
	{Name: "P8 a watch that is old enough is drained, and goes on with its token", Run: maxAge, On: func(k Kit) bool { return !k.Poll },
		Options: Options{Guard: guarded.Guard, MaxAge: time.Second}},
	{Name: "P8 session: a watch that is old enough is drained, and opens again in the session", Run: maxAgeInSession, On: sessions,
		Options: Options{Guard: guarded.Guard, MaxAge: time.Second}},
}

func principalWatches(c *Case) {
	c.exists()
	hers := c.as(ann)
	first, second := hers.Watch(), hers.Watch()
	for _, rd := range []*Reader{first, second} {
		rd.UntilKind(SnapshotEnd)
	}
	_, err := hers.Try(c.Request())
	c.wantError("a third watch", err, resource.LimitReached, "limit", "principal_watches")
	if e := asError(err); e != nil && e.RetryAfter <= 0 {
		c.Errorf("a third watch: %v does not say when to come back", err)
	}
	his := c.as(ben).Watch()
	his.UntilKind(SnapshotEnd)
	first.Close()
	c.Node.AwaitWatches(2)
	third := hers.Watch()
	third.UntilKind(SnapshotEnd)
	at := c.Put("a", Value{Customer: "ann"})
	for _, rd := range []*Reader{second, third} {
		rd.UntilRevision(at)
	}
}

func callRate(c *Case) {
	c.Put("a", Value{Customer: "ann"})
	hers := c.as(ann)
	var err error
	for range 100 {
		if _, err = hers.get("a"); err != nil {
			break
		}
	}
	c.wantError("call after call", err, resource.LimitReached, "limit", "calls")
	if e := asError(err); e != nil && e.RetryAfter <= 0 {
		c.Errorf("%v does not say when to come back", err)
	}
	_, err = c.as(ben).get("a")
	c.wantError("somebody else's call", err, resource.NotFound)
}

func eventRate(c *Case) {
	c.exists()
	rd := c.as(ann).Watch()
	rd.UntilKind(SnapshotEnd)
	const changes = 80
	began := time.Now()
	var last uint64
	for i := range changes {
		last = c.Put(fmt.Sprintf("a%d", i%3), Value{Customer: "ann", Units: i + 1})
	}
	rd.UntilRevision(last)
	took := time.Since(began)
	told := 0
	for i := range rd.Events {
		told += 1 + int(rd.Events[i].Coalesced)
	}
	if most := 20 + int(took.Seconds()*20) + 3; told != changes || len(rd.Events) > most {
		c.Errorf("%d changes came as %d events within %v, and %d are told with those that were folded; not more than %d may come", changes, len(rd.Events), took, told, most)
	}
	rd.holds(map[string]Value{"a0": {Customer: "ann", Units: 79}, "a1": {Customer: "ann", Units: 80}, "a2": {Customer: "ann", Units: 78}})
}

func maxAge(c *Case) {
	a := c.Put("a", Value{Customer: "ann"})
	hers := c.as(ann)
	rd := hers.Watch(everyChange)
	rd.UntilRevision(a)
	m := rd.UntilKind(Drain)
	if m.Token == "" {
		c.Errorf("%v has no token", m)
	}
	if !c.Kit.Session { // which goes on
		rd.UntilEnd()
	}
	moved := c.Put("a", Value{Customer: "ben"})
	b := c.Put("b", Value{Customer: "ann"})
	rd.Resume(hers.Transport)
	rd.UntilRevision(b)
	rd.Want(startedSnapshot, did(entered, "a", a), "snapshot_end", "drain", startedResumed, did(exited, "a", moved), did(created, "b", b))
}

func maxAgeInSession(c *Case) {
	a := c.Put("a", Value{Customer: "ann"})
	x := c.as(ann).session()
	x.open("w", c.Request())
	x.until("drain", func() bool { return x.folds["w"].over })
	before := x.folds["w"]
	if before.Revision != a {
		c.Errorf("the watch is drained at %d, not %d", before.Revision, a)
	}
	b := c.Put("b", Value{Customer: "ann"})
	x.open("w", c.Request(token(before.Token)))
	x.untilRevision("w", b)
	if f := x.folds["w"]; len(f.Events) != 1 || len(f.Resets) > 0 {
		c.Errorf("it goes on with %v", f.Events)
	}
}
