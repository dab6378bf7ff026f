package access

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
)

func TestControl_EverybodySeesWhatIsTheirs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", own))
		w.put("notes", "a", `{"owner":"ann"}`)
		w.put("notes", "b", `{"owner":"bob"}`)
		ann, bob, auditor := w.named("ann"), w.named("bob"), w.caller(jwt.MapClaims{"sub": "zoe", "roles": "auditor"})
		w.reads(ann, "notes", `a {"owner":"ann"}`)
		w.reads(auditor, "notes", `a {"owner":"ann"}`, `b {"owner":"bob"}`)
		w.reads(w.root, "notes", `a {"owner":"ann"}`, `b {"owner":"bob"}`)

		anns, bobs, all, roots := w.watch(ann, "notes"), w.watch(bob, "notes"), w.watch(auditor, "notes"), w.watch(w.root, "notes")
		anns.begins(`ENTERED a@1 {"owner":"ann"}`)
		bobs.begins(`ENTERED b@2 {"owner":"bob"}`)
		all.begins(`ENTERED a@1 {"owner":"ann"}`, `ENTERED b@2 {"owner":"bob"}`)
		roots.begins(`ENTERED a@1 {"owner":"ann"}`, `ENTERED b@2 {"owner":"bob"}`)

		w.put("notes", "a", `{"owner":"bob"}`) // another owner
		anns.says(`LEFT a@3`)
		bobs.says(`ENTERED a@3 {"owner":"bob"}`)
		all.says(`UPDATED a@3 {"owner":"bob"}`)
		roots.says(`UPDATED a@3 {"owner":"bob"}`)

		w.put("notes", "a", `{"owner":"bob","n":1}`)
		anns.says()
		w.put("notes", "a", "")
		anns.says() // it is not hers: she does not even learn that it is gone
		bobs.says(`DELETED a@5`)
		w.put("notes", "c", `{"owner":"ann"}`)
		anns.says(`CREATED c@6 {"owner":"ann"}`)
		bobs.says()
	})
}

func TestControl_ResumesWithWhatTheRuleMakesOfTheTimeBetween(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", own))
		w.put("notes", "a", `{"owner":"ann"}`)
		ann := w.named("ann")
		first := w.watch(ann, "notes")
		first.begins(`ENTERED a@1 {"owner":"ann"}`)
		first.w.Close(nil)
		w.put("notes", "b", `{"owner":"bob"}`)
		w.put("notes", "a", `{"owner":"bob","secret":"of bob"}`)
		again := w.watch(ann, "notes", resuming(first.token))
		again.says("started RESUMED", "LEFT a@3")
		// Somebody else cannot go on where she was.
		bobs := w.watch(w.named("bob"), "notes", resuming(first.token))
		bobs.says("started SNAPSHOT", "reset SCOPE", `ENTERED b@2 {"owner":"bob"}`, `ENTERED a@3 {"owner":"bob","secret":"of bob"}`, "snapshot_end")
	})
}

func TestControl_WhereThereIsNoPolicyOnlyOperatorsAreLetIn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put("notes", "a", `{}`)
		w.refusesWatch(w.named("ann"), "notes", resource.PermissionDenied)
		w.refusesWatch(w.caller(nil), "notes", resource.CredentialMissing)
		for _, verb := range []hub.Verb{hub.Get, hub.List} {
			if _, err := w.list(w.named("ann"), verb, "notes"); !resource.HasReason(err, resource.PermissionDenied) {
				t.Error(verb, err)
			}
		}
		w.watch(w.root, "notes").begins(`ENTERED a@1 {}`)
		// An empty policy is none either, and a rule that says no to everybody does not ask operators.
		w.policy(&watchroutev1.CollectionAccess{Collection: "notes", Rules: &watchroutev1.AccessRules{Get: "false", Write: "false"}})
		w.refusesWatch(w.named("ann"), "notes", resource.PermissionDenied)
		w.reads(w.root, "notes", `a {}`)
		if err := w.write(w.root, "notes", opJSON("b", `{}`)); err != nil {
			t.Error(err)
		}
	})
}

func TestControl_AnonymousCallersAreAskedOnlyWhereThePolicySaysSo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put("notes", "a", `{"public":true}`)
		w.put("notes", "b", `{"public":false}`)
		p := reading("notes", "data.public || auth.sub != ''")
		p.Rules.Write = "true"
		w.policy(p)
		nobody := w.caller(nil)
		w.refusesWatch(nobody, "notes", resource.CredentialMissing)
		if err := w.write(nobody, "notes", opJSON("c", `{}`)); !resource.HasReason(err, resource.CredentialMissing) {
			t.Error(err)
		}
		p.Anonymous, p.Rules.Write = true, "auth.sub != ''"
		w.policy(p)
		nobodys := w.watch(nobody, "notes")
		nobodys.begins(`ENTERED a@1 {"public":true}`)
		w.reads(w.named("ann"), "notes", `a {"public":true}`, `b {"public":false}`)
		if err := w.write(nobody, "notes", opJSON("c", `{}`)); !resource.HasReason(err, resource.CredentialMissing) {
			t.Error(err)
		}
		p.Anonymous = false
		w.policy(p)
		nobodys.ends(resource.CredentialMissing)
	})
}

func TestControl_ListAndWatchHaveRulesOfTheirOwn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put("notes", "a", `{"n":1}`)
		w.policy(&watchroutev1.CollectionAccess{Collection: "notes", Rules: &watchroutev1.AccessRules{Get: "true", List: "data.n == 2", Watch: "false"}})
		ann := w.named("ann")
		if got, err := w.list(ann, hub.Get, "notes"); err != nil || len(got) != 1 {
			t.Error(got, err)
		}
		if got, err := w.list(ann, hub.List, "notes"); err != nil || len(got) != 0 {
			t.Error(got, err)
		}
		w.refusesWatch(ann, "notes", resource.PermissionDenied)
		if token := w.hub.ListToken(With(w.t.Context(), ann), "notes", "", nil, 1); token != "" {
			t.Error("a list gives a token to who may not watch")
		}
	})
}

func TestControl_AnOpenWatchFollowsThePolicy(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", own))
		w.put("notes", "a", `{"owner":"ann"}`)
		w.put("notes", "b", `{"owner":"bob"}`)
		anns, roots, others := w.watch(w.named("ann"), "notes"), w.watch(w.root, "notes"), w.watch(w.root, "other")
		anns.begins(`ENTERED a@1 {"owner":"ann"}`)
		roots.begins(`ENTERED a@1 {"owner":"ann"}`, `ENTERED b@2 {"owner":"bob"}`)
		others.begins()

		w.policy(reading("notes", "true"))
		anns.restarts(`ENTERED a@1 {"owner":"ann"}`, `ENTERED b@2 {"owner":"bob"}`)
		w.put("notes", "b", `{"owner":"cid"}`)
		anns.says(`UPDATED b@3 {"owner":"cid"}`)

		w.policy(&watchroutev1.CollectionAccess{Collection: "notes", Rules: &watchroutev1.AccessRules{Get: "true"}}) // the same
		anns.says()

		w.policy(reading("notes", `data.owner == "cid"`))
		anns.restarts(`ENTERED b@3 {"owner":"cid"}`)
		w.policy(reading("notes", "false"))
		anns.ends(resource.PermissionDenied)
		roots.says(`UPDATED b@3 {"owner":"cid"}`) // no reset
		others.says()
	})
}

func TestControl_APolicyThatIsRemovedEndsWatches(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", "true"))
		s := w.watch(w.named("ann"), "notes")
		s.begins()
		w.set(CollectionsCollection, "notes", nil)
		s.ends(resource.PermissionDenied)
	})
}

func TestControl_APolicyOfTheConfigurationHoldsUntilTheLogHasOne(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put("notes", "a", `{"owner":"ann"}`)
		s := w.watch(w.named("bob"), "notes")
		s.begins(`ENTERED a@1 {"owner":"ann"}`)
		w.policy(reading("notes", own))
		s.restarts()
		w.set(CollectionsCollection, "notes", nil)
		s.restarts(`ENTERED a@1 {"owner":"ann"}`)
	}, func(c *setup) { c.Collections = []*watchroutev1.CollectionAccess{reading("notes", "true")} })
}

func TestControl_APolicyThatDoesNotCompileAllowsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", "true"))
		w.put("notes", "a", `{}`)
		s := w.watch(w.named("ann"), "notes")
		s.begins(`ENTERED a@1 {}`)
		w.set(CollectionsCollection, "notes", reading("notes", "data.n +")) // around Check
		s.ends(resource.PermissionDenied)
		w.refusesWatch(w.named("ann"), "notes", resource.PermissionDenied)
		if err := w.write(w.named("ann"), "notes", opJSON("b", `{}`)); !resource.HasReason(err, resource.PermissionDenied) {
			t.Error(err)
		}
		w.reads(w.root, "notes", `a {}`)
		w.policy(reading("notes", "true"))
		w.reads(w.named("ann"), "notes", `a {}`)
	}, func(c *setup) { c.Collections = []*watchroutev1.CollectionAccess{reading("notes", "true")} })
}

func TestControl_ANewOneReadsWhatTheLogHas(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", own))
		w.put("notes", "a", `{"owner":"ann"}`)
		w.set(RevocationsCollection, "r", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_Subject{Subject: "bob"}})
		w.set(RevocationsCollection, "gone", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_Subject{Subject: "ann"}})
		w.set(RevocationsCollection, "gone", nil)
		w.start(setup{ControlConfig: w.control.cfg}) // another node
		w.watch(w.named("ann"), "notes").begins(`ENTERED a@1 {"owner":"ann"}`)
		w.refusesToEnter(Presented{Credential: Credential{Secret: token(jwt.MapClaims{"sub": "bob"})}}, resource.CredentialRevoked)
	})
}

func TestControl_WatchRouteIsOffOrOfSomeTransports(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put("notes", "a", `{}`)
		p := reading("notes", "true")
		w.policy(p)
		ann := w.named("ann")
		overGRPC := w.watch(ann, "notes")
		overSSE, err := w.open(ann, "sse", &watchroutev1.WatchRequest{Parent: "notes"})
		if err != nil {
			t.Fatal(err)
		}
		roots := w.watch(w.root, "notes")
		overGRPC.begins(`ENTERED a@1 {}`)
		overSSE.begins(`ENTERED a@1 {}`)
		roots.begins(`ENTERED a@1 {}`)
		p.WatchRoute = &watchroutev1.WatchRoute{Transports: []string{"sse", "websocket"}}
		w.policy(p)
		overGRPC.ends(resource.Unsupported)
		roots.ends(resource.Unsupported) // that is how it is for operators, too
		overSSE.says()
		w.refusesWatch(ann, "notes", resource.Unsupported)
		p.WatchRoute = &watchroutev1.WatchRoute{Off: true}
		w.policy(p)
		overSSE.ends(resource.Unsupported)
		w.refusesWatch(w.root, "notes", resource.Unsupported)
		w.reads(ann, "notes", `a {}`)
	})
}

func TestControl_WatchingNeedsAnApproval(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put("notes", "a", `{}`)
		p := reading("notes", "true")
		p.WatchRoute = &watchroutev1.WatchRoute{Approval: true}
		w.policy(p)
		ann, bob := w.caller(jwt.MapClaims{"tenant": "acme"}), w.caller(jwt.MapClaims{"sub": "bob", "tenant": "acme"})
		w.put("acme:notes", "a", `{"of":"acme"}`)
		const id = "notes~acme~ann"
		if e := w.refusesWatch(ann, "notes", resource.ApprovalRequired); e.Metadata["grant"] != "system.grants/"+id || e.Metadata["collection"] != "notes" {
			t.Errorf("got %v", e.Metadata)
		}
		w.reads(ann, "notes", `a {"of":"acme"}`)
		w.watch(w.root, "notes").begins(`ENTERED a@1 {}`)

		grant := &watchroutev1.Grant{GrantId: id, Collection: "notes", Tenant: "acme", Subject: "ann", State: watchroutev1.Grant_REQUESTED, DecidedBy: "ann"}
		if err := w.write(bob, GrantsCollection, opOf(id, grant)); !resource.HasReason(err, resource.PermissionDenied) {
			t.Errorf("asking for somebody else: %v", err)
		}
		if err := w.write(w.caller(jwt.MapClaims{}), GrantsCollection, opOf(id, grant)); !resource.HasReason(err, resource.PermissionDenied) {
			t.Errorf("asking for her namesake: %v", err)
		}
		if err := w.write(w.caller(nil), GrantsCollection, opOf(id, grant)); err == nil {
			t.Error("nobody asks")
		}
		grant.State = watchroutev1.Grant_APPROVED
		if err := w.write(ann, GrantsCollection, opOf(id, grant)); !resource.HasReason(err, resource.PermissionDenied) {
			t.Errorf("approving for herself: %v", err)
		}
		grant.State = watchroutev1.Grant_REQUESTED
		if err := w.write(ann, GrantsCollection, opOf("notes~acme~bob", grant)); !resource.HasReason(err, resource.InvalidField) {
			t.Errorf("under another id: %v", err)
		}
		anns, roots, bobs := w.watch(ann, GrantsCollection), w.watch(w.root, GrantsCollection), w.watch(bob, GrantsCollection)
		for _, s := range []*stream{anns, roots, bobs} {
			s.begins()
		}
		if err := w.write(ann, GrantsCollection, opOf(id, grant)); err != nil {
			t.Fatal(err)
		}
		const fields = `{"grantId":"notes~acme~ann","collection":"notes","tenant":"acme","subject":"ann","state":`
		anns.says(`CREATED notes~acme~ann@1 ` + fields + `"REQUESTED"}`)
		roots.says(`CREATED notes~acme~ann@1 ` + fields + `"REQUESTED"}`)
		w.refusesWatch(ann, "notes", resource.ApprovalRequired)

		grant.State = watchroutev1.Grant_APPROVED
		approve := func(until time.Duration) {
			t.Helper()
			if grant.ExpireTime = nil; until > 0 {
				grant.ExpireTime = timestamppb.New(time.Now().Add(until))
			}
			if err := w.write(w.root, GrantsCollection, opOf(id, grant)); err != nil {
				t.Fatal(err)
			}
		}
		approve(0)
		anns.says(`UPDATED notes~acme~ann@2 ` + fields + `"APPROVED","decidedBy":"root"}`)
		bobs.says()
		s := w.watch(ann, "notes")
		s.begins(`ENTERED a@1 {"of":"acme"}`)
		w.refusesWatch(bob, "notes", resource.ApprovalRequired)
		if err := w.write(ann, GrantsCollection, opOf(id, &watchroutev1.Grant{GrantId: id, Collection: "notes", Tenant: "acme", Subject: "ann", State: watchroutev1.Grant_REQUESTED})); !resource.HasReason(err, resource.PermissionDenied) {
			t.Errorf("taking an answer back: %v", err)
		}

		grant.State = watchroutev1.Grant_REFUSED
		approve(0)
		s.ends(resource.ApprovalRequired)
		if err := w.write(ann, GrantsCollection, deletion(id)); !resource.HasReason(err, resource.PermissionDenied) {
			t.Errorf("removing a refusal: %v", err)
		}

		grant.State = watchroutev1.Grant_APPROVED
		approve(5 * time.Minute)
		s = w.watch(ann, "notes")
		s.begins(`ENTERED a@1 {"of":"acme"}`)
		approve(time.Minute) // for less
		s.says()
		time.Sleep(time.Minute - time.Millisecond)
		s.read()
		if s.err != nil {
			t.Error(s.err)
		}
		s.lines = nil
		time.Sleep(time.Millisecond)
		s.ends(resource.ApprovalRequired)
		w.refusesWatch(ann, "notes", resource.ApprovalRequired)

		approve(0)
		s = w.watch(ann, "notes")
		s.begins(`ENTERED a@1 {"of":"acme"}`)
		w.set(GrantsCollection, id, nil)
		s.ends(resource.ApprovalRequired)
	})
}

func TestGrantID_IsAnIDForEverySubject(t *testing.T) {
	seen := map[string]bool{}
	long := ""
	for range MaxSubject {
		long += "x"
	}
	for _, subject := range []string{"ann", "Ann", "a/b", "a=2Fb", "a~b", "ä", "a b", long, long[:len(long)-1] + "y", "https://id.example/ann"} {
		for _, tenant := range []string{"", "acme"} {
			id := GrantID("notes", tenant, subject)
			if err := resource.CheckID("", id); err != nil || seen[id] {
				t.Errorf("%q: %q %v", subject, id, err)
			}
			seen[id] = true
		}
	}
}

func TestControl_TenantsHaveCollectionsOfTheirOwn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", `true`))
		a, b := w.caller(jwt.MapClaims{"tenant": "aa"}), w.caller(jwt.MapClaims{"tenant": "bb"})
		none := w.caller(jwt.MapClaims{})
		as, bs, nones := w.watch(a, "notes"), w.watch(b, "notes"), w.watch(none, "notes")
		for _, s := range []*stream{as, bs, nones} {
			s.begins()
		}
		p := reading("notes", "true")
		p.Rules.Write = `auth.tenant != ""`
		w.policy(p)
		for range 2 {
			if err := w.write(a, "notes", opJSON("x", `{"of":"aa"}`)); err != nil {
				t.Fatal(err)
			}
			if err := w.write(a, "notes", opJSON("y", `{"of":"aa"}`)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.write(b, "notes", opJSON("x", `{"of":"bb"}`)); err != nil {
			t.Fatal(err)
		}
		as.says(`CREATED x@1 {"of":"aa"}`, `CREATED y@2 {"of":"aa"}`)
		bs.says(`CREATED x@1 {"of":"bb"}`)
		nones.says()
		w.reads(b, "notes", `x {"of":"bb"}`)
		w.reads(none, "notes")

		// A token of one says nothing to the other.
		w.watch(b, "notes", resuming(as.token)).says("started SNAPSHOT", "reset SCOPE", `ENTERED x@1 {"of":"bb"}`, "snapshot_end")

		// Only operators name one that is not theirs.
		for _, tenant := range []string{"bb", "cc"} {
			w.refusesToEnter(Presented{Credential: Credential{Secret: token(jwt.MapClaims{"tenant": "aa"})}, Tenant: tenant}, resource.PermissionDenied)
		}
		w.refusesToEnter(Presented{Tenant: "bb"}, resource.PermissionDenied)
		w.refusesToEnter(Presented{Credential: Credential{Secret: token(jwt.MapClaims{"roles": "root"})}, Tenant: "b:b"}, resource.InvalidField)
		w.reads(w.caller(jwt.MapClaims{"tenant": "aa"}, namingTenant("aa")), "notes", `x {"of":"aa"}`, `y {"of":"aa"}`)
		operator := w.caller(jwt.MapClaims{"roles": "root"}, namingTenant("bb"))
		w.reads(operator, "notes", `x {"of":"bb"}`)
		s := w.watch(operator, "notes")
		s.begins(`ENTERED x@1 {"of":"bb"}`)
		if err := w.write(operator, "notes", opJSON("z", `{"by":"root"}`)); err != nil {
			t.Fatal(err)
		}
		bs.says(`CREATED z@2 {"by":"root"}`)
		s.says(`CREATED z@2 {"by":"root"}`)
		as.says()
	})
}

func TestControl_AnOperatorNoMoreActsForNoOtherTenant(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", `true`))
		w.put("bb:notes", "x", `{"of":"bb"}`)
		c := w.caller(jwt.MapClaims{"roles": "root", "tenant": "aa"}, namingTenant("bb"))
		s := w.watch(c, "notes")
		s.begins(`ENTERED x@1 {"of":"bb"}`)
		if _, err := w.control.Renew(w.t.Context(), c, token(jwt.MapClaims{"tenant": "aa"})); err != nil {
			t.Fatal(err)
		}
		s.w.Reconsider()
		s.ends(resource.PermissionDenied)
		w.reads(c, "notes")
	})
}

func hiding(mask, unless string, paths ...string) *watchroutev1.Redaction {
	return &watchroutev1.Redaction{Fields: &fieldmaskpb.FieldMask{Paths: paths}, Mask: mask, Unless: unless}
}

func TestControl_RedactedFieldsAreNowhereToBeSeen(t *testing.T) {
	inWorld(t, func(w *world) {
		p := reading("notes", "true")
		p.Redactions = []*watchroutev1.Redaction{
			hiding("", `data.owner == auth.sub`, "secret"),
			hiding("***", `"auditor" in auth.roles`, "owner"),
		}
		w.policy(p)
		w.put("notes", "a", `{"owner":"ann","secret":"s3cret","n":1}`)
		ann, bob, zoe := w.named("ann"), w.named("bob"), w.caller(jwt.MapClaims{"sub": "zoe", "roles": "auditor"})
		w.reads(ann, "notes", `a {"owner":"***","secret":"s3cret","n":1}`)
		w.reads(bob, "notes", `a {"owner":"***","n":1}`)
		w.reads(zoe, "notes", `a {"owner":"ann","n":1}`)
		w.reads(w.root, "notes", `a {"owner":"ann","secret":"s3cret","n":1}`)

		delta := func(r *watchroutev1.WatchRequest) { r.Delta = true }
		masked := func(r *watchroutev1.WatchRequest) {
			r.ReadMask = &fieldmaskpb.FieldMask{Paths: []string{"secret", "n"}}
		}
		anns, bobs, deltas, masks := w.watch(ann, "notes"), w.watch(bob, "notes"), w.watch(bob, "notes", delta), w.watch(bob, "notes", masked)
		anns.begins(`ENTERED a@1 {"owner":"***","secret":"s3cret","n":1}`)
		bobs.begins(`ENTERED a@1 {"owner":"***","n":1}`)
		deltas.begins(`ENTERED a@1 {"owner":"***","n":1}`)
		masks.begins(`ENTERED a@1 {"n":1}`)

		w.put("notes", "a", `{"owner":"ann","secret":"s4cret","n":1}`) // of what is hidden only
		anns.says(`UPDATED a@2 {"owner":"***","secret":"s4cret","n":1}`)
		bobs.says()
		deltas.says()
		masks.says()

		w.put("notes", "a", `{"owner":"ann","secret":"s5cret","n":2}`)
		bobs.says(`UPDATED a@3 {"owner":"***","n":2}`)
		deltas.says(`UPDATED a@3 {"n":2} of [n]`)
		masks.says(`UPDATED a@3 {"n":2}`)
		anns.says(`UPDATED a@3 {"owner":"***","secret":"s5cret","n":2}`)

		w.put("notes", "a", `{"owner":"bob","secret":"s6cret","n":2}`) // it is shown to him from now on
		anns.says(`UPDATED a@4 {"owner":"***","n":2}`)
		bobs.says(`UPDATED a@4 {"owner":"***","secret":"s6cret","n":2}`)
		deltas.says(`UPDATED a@4 {"secret":"s6cret"} of [secret]`)
		masks.says(`UPDATED a@4 {"secret":"s6cret","n":2}`)

		p.Redactions = nil
		w.policy(p)
		anns.restarts(`ENTERED a@4 {"owner":"bob","secret":"s6cret","n":2}`)
		p.Redactions = []*watchroutev1.Redaction{hiding("", "", "secret", "owner")}
		w.policy(p)
		anns.restarts(`ENTERED a@4 {"n":2}`)
	})
}

func TestControl_FiltersSeeNoMoreThanTheirCaller(t *testing.T) {
	t.Run("in_memory", func(t *testing.T) { filtersSeeNoMore(t, 0) })
	t.Run("in_the_log", func(t *testing.T) { filtersSeeNoMore(t, 1) })
}

func filtersSeeNoMore(t *testing.T, ring int64) {
	inWorld(t, func(w *world) {
		p := reading("notes", "true")
		p.Redactions = []*watchroutev1.Redaction{hiding("", "", "secret"), hiding("***", "", "owner")}
		w.policy(p)
		w.put("notes", "a", `{"owner":"ann","secret":"s3cret"}`)
		ann := w.named("ann")
		for _, c := range []struct {
			filter string
			sees   bool
		}{
			{`data.secret.startsWith("s")`, false},
			{`data.secret == "s3cret"`, false},
			{`data.secret == "other"`, false},
			{`has(data.secret)`, false},
			{`data.owner == "ann"`, false},
			{`!(data.secret == "s3cret")`, false}, // it fails, as for a field that is not there
			{`data.owner.startsWith("a") || data.secret == "other"`, false},
			{`!has(data.secret)`, true},
			{`data.owner == "***"`, true},
			{`!data.owner.startsWith("ann")`, true},
		} {
			for _, names := range [][]string{nil, {"notes/a"}} {
				named := func(r *watchroutev1.WatchRequest) { r.Names = names }
				s := w.watch(ann, "notes", filtered(c.filter), named)
				s.read()
				if len(s.lines) != 2 && !c.sees || len(s.lines) != 3 && c.sees {
					t.Errorf("%s: the snapshot is %q", c.filter, s.lines)
				}
				s.lines = nil
				token := s.token
				w.put("notes", "a", `{"owner":"ann","secret":"other"}`)
				s.says()
				again := w.watch(ann, "notes", filtered(c.filter), named, resuming(token))
				again.says("started RESUMED")
				w.put("notes", "a", `{"owner":"ann","secret":"s3cret"}`)
				s.says()
				s.w.Close(nil)
				again.w.Close(nil) // nobody remembers what there was
				w.watch(ann, "notes", filtered(c.filter), named, resuming(token)).says("started RESUMED")
			}
		}
	}, func(c *setup) { c.ring = ring })
}
