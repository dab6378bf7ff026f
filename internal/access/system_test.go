package access

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
)

func TestControl_NobodySeesTheHashOfAKey(t *testing.T) {
	text := keyText("ci", 1)
	inWorld(t, func(w *world) {
		key := &watchroutev1.ApiKey{KeyId: "ci", Hash: cheap(text), Subject: "robot"}
		w.set(KeysCollection, "ci", key)
		w.reads(w.root, KeysCollection, `ci {"keyId":"ci","subject":"robot"}`)
		s := w.watch(w.root, KeysCollection)
		s.begins(`ENTERED ci@1 {"keyId":"ci","subject":"robot"}`)
		deltas := w.watch(w.root, KeysCollection, func(r *watchroutev1.WatchRequest) { r.Delta = true })
		deltas.begins(`ENTERED ci@1 {"keyId":"ci","subject":"robot"}`)
		masked := w.watch(w.root, KeysCollection, func(r *watchroutev1.WatchRequest) {
			r.ReadMask = &fieldmaskpb.FieldMask{Paths: []string{"hash", "note"}}
		})
		masked.begins(`ENTERED ci@1 {}`)
		for _, filter := range []string{`data.hash.startsWith("$")`, `data.hash != ""`, `data.hash.contains("argon2id")`} {
			w.watch(w.root, KeysCollection, filtered(filter)).begins()
		}
		w.watch(w.root, KeysCollection, filtered(`data.hash == ""`)).begins(`ENTERED ci@1 {"keyId":"ci","subject":"robot"}`)
		key = proto.CloneOf(key)
		key.Hash = cheap(keyText("ci", 2))
		w.set(KeysCollection, "ci", key)
		for _, o := range []*stream{s, deltas, masked} {
			o.says()
		}
		key = proto.CloneOf(key)
		key.Note = "new"
		w.set(KeysCollection, "ci", key)
		s.says(`UPDATED ci@3 {"keyId":"ci","subject":"robot","note":"new"}`)
		deltas.says(`UPDATED ci@3 {"note":"new"} of [note]`)
		masked.says(`UPDATED ci@3 {"note":"new"}`)
		w.refusesWatch(w.named("ann"), KeysCollection, resource.PermissionDenied)
		w.refusesWatch(w.caller(nil), KeysCollection, resource.CredentialMissing)
		if strings.Contains(s.text+deltas.text+masked.text+w.screen.String(), "argon2id") {
			t.Error("the hash was told")
		}
	})
}

func TestControl_OnlyOperatorsReadAndWriteWhatControlsAccess(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(&watchroutev1.CollectionAccess{Collection: "notes", Anonymous: true, Rules: &watchroutev1.AccessRules{Get: "true", Write: "true"}})
		for _, collection := range []string{CollectionsCollection, KeysCollection, RevocationsCollection, GrantsCollection, "system.other"} {
			for name, c := range map[string]*Caller{"ann": w.named("ann"), "nobody": w.caller(nil)} {
				if collection == GrantsCollection && name == "ann" {
					continue
				}
				if err := w.write(c, collection, opOf("x", reading("notes", "true"))); !resource.HasReason(err, resource.PermissionDenied) && !resource.HasReason(err, resource.CredentialMissing) {
					t.Errorf("%s writes %s: %v", name, collection, err)
				}
				if err := w.write(c, collection, deletion("notes")); !resource.HasReason(err, resource.PermissionDenied) && !resource.HasReason(err, resource.CredentialMissing) {
					t.Errorf("%s deletes in %s: %v", name, collection, err)
				}
				if _, err := w.list(c, hub.List, collection); err == nil {
					t.Errorf("%s lists %s", name, collection)
				}
			}
		}
		if err := w.write(w.root, "system.other", opJSON("x", `{}`)); !resource.HasReason(err, resource.CollectionNotFound) {
			t.Error(err)
		}
	})
}

func TestControl_CheckSaysWhatIsWrongAndWhere(t *testing.T) {
	inWorld(t, func(w *world) {
		rules := func(r *watchroutev1.AccessRules) proto.Message {
			return &watchroutev1.CollectionAccess{Collection: "notes", Rules: r}
		}
		key := func(change func(*watchroutev1.ApiKey)) proto.Message {
			k := &watchroutev1.ApiKey{KeyId: "ci", Hash: cheap(keyText("ci", 1)), Subject: "robot"}
			change(k)
			return k
		}
		for _, c := range []struct {
			collection, id string
			message        proto.Message
			field          string
		}{
			{CollectionsCollection, "notes", rules(&watchroutev1.AccessRules{Get: "data.n +"}), "rules.get"},
			{CollectionsCollection, "notes", rules(&watchroutev1.AccessRules{Get: "old.n == 1"}), "rules.get"},
			{CollectionsCollection, "notes", rules(&watchroutev1.AccessRules{Write: "auth.nope == 1"}), "rules.write"},
			{CollectionsCollection, "orders", &watchroutev1.CollectionAccess{Collection: "orders", Rules: &watchroutev1.AccessRules{List: "data.nope == 1"}}, "rules.list"},
			{CollectionsCollection, "orders", &watchroutev1.CollectionAccess{Collection: "orders", Redactions: []*watchroutev1.Redaction{hiding("", "", "nope")}}, "redactions[0].fields"},
			{CollectionsCollection, "notes", &watchroutev1.CollectionAccess{Collection: "notes", Redactions: []*watchroutev1.Redaction{hiding("", "")}}, "redactions[0].fields"},
			{CollectionsCollection, "notes", &watchroutev1.CollectionAccess{Collection: "notes", Redactions: []*watchroutev1.Redaction{hiding("", "1 +", "n")}}, "redactions[0].unless"},
			{CollectionsCollection, "notes", &watchroutev1.CollectionAccess{Collection: "notes", WatchRoute: &watchroutev1.WatchRoute{Transports: []string{"sse", "pigeon"}}}, "watch_route.transports[1]"},
			{CollectionsCollection, "system.keys", &watchroutev1.CollectionAccess{Collection: "system.keys"}, "collection"},
			{KeysCollection, "ci", key(func(k *watchroutev1.ApiKey) { k.Hash = "secret" }), "hash"},
			{KeysCollection, "ci", key(func(k *watchroutev1.ApiKey) { k.Subject = "" }), "subject"},
			{KeysCollection, "ci", key(func(k *watchroutev1.ApiKey) { k.Tenant = "A" }), "tenant"},
			{KeysCollection, "CI", key(func(k *watchroutev1.ApiKey) { k.KeyId = "CI" }), "key_id"},
			{RevocationsCollection, "r", &watchroutev1.Revocation{}, "target"},
			{RevocationsCollection, "r", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_Address{Address: "300.1.1.1"}}, "address"},
			{RevocationsCollection, "r", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_Subject{}}, "subject"},
			{RevocationsCollection, "r", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_WholeTenant{}}, "whole_tenant"},
			{RevocationsCollection, "r", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_Subject{Subject: "ann"}, Tenant: "-"}, "tenant"},
			{GrantsCollection, "notes~~bob", &watchroutev1.Grant{Collection: "notes", Subject: "ann"}, "grant_id"},
		} {
			err := w.write(w.root, c.collection, opOf(c.id, c.message))
			if e := resource.AsError(err); e == nil || e.Reason == resource.Internal || e.Metadata["field"] != "resource.data."+c.field {
				t.Errorf("%s %v: got %v", c.collection, c.message, err)
			}
		}
		if w.log.Bounds(CollectionsCollection).Head+w.log.Bounds(KeysCollection).Head+w.log.Bounds(RevocationsCollection).Head+w.log.Bounds(GrantsCollection).Head > 0 {
			t.Error("something was written")
		}
	})
}

func TestGuard_AsksTheRulesOfWrites(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, bob, nobody := w.caller(jwt.MapClaims{}, at("203.0.113.7")), w.caller(jwt.MapClaims{"sub": "bob"}, at("203.0.113.8")), w.caller(nil)
		for _, c := range []struct {
			write, delete string
			c             *Caller
			over          string
			op            changelog.Op
			allowed       bool
		}{
			{"data.owner == auth.sub", "", ann, "grpc", opJSON("new", `{"owner":"ann"}`), true},
			{"data.owner == auth.sub", "", ann, "grpc", opJSON("new", `{"owner":"bob"}`), false},
			{"data.owner == auth.sub", "", ann, "grpc", opJSON("of-bob", `{"owner":"ann"}`), true}, // a rule that forgets what was there
			{"data.owner == auth.sub && (old == null || old.owner == auth.sub)", "", ann, "grpc", opJSON("of-bob", `{"owner":"ann"}`), false},
			{"data.owner == auth.sub && (old == null || old.owner == auth.sub)", "", ann, "grpc", opJSON("of-ann", `{"owner":"ann","n":1}`), true},
			{"data.owner == auth.sub && (old == null || old.owner == auth.sub)", "", ann, "grpc", opJSON("new", `{"owner":"ann"}`), true},
			{"old == null", "", ann, "grpc", opJSON("of-ann", `{}`), false},
			{"old == null", "", ann, "grpc", opJSON("new", `{}`), true},
			{"data.owner == auth.sub", "", ann, "grpc", deletion("of-ann"), true}, // delete: as write
			{"data.owner == auth.sub", "", ann, "grpc", deletion("of-bob"), false},
			{"data.owner == auth.sub", "", ann, "grpc", deletion("new"), false}, // of nothing nothing is known
			{"old.owner == auth.sub", "", ann, "grpc", deletion("of-ann"), true},
			{"true", "false", ann, "grpc", deletion("of-ann"), false},
			{"false", "true", ann, "grpc", deletion("of-ann"), true},
			{"false", "true", ann, "grpc", opJSON("new", `{}`), false},
			{"", "", ann, "grpc", opJSON("new", `{}`), false},
			{"", "", ann, "grpc", deletion("of-ann"), false},
			{`request.verb == "write"`, "", ann, "grpc", opJSON("new", `{}`), true},
			{`request.verb == "write"`, "", ann, "grpc", deletion("of-ann"), false},
			{`request.verb == "delete"`, "", ann, "grpc", deletion("of-ann"), true},
			{`request.transport == "sse"`, "", ann, "sse", opJSON("new", `{}`), true},
			{`request.transport == "sse"`, "", ann, "grpc", opJSON("new", `{}`), false},
			{`request.address.startsWith("203.0.113.7")`, "", ann, "grpc", opJSON("new", `{}`), true},
			{`request.address.startsWith("203.0.113.7")`, "", bob, "grpc", opJSON("new", `{}`), false},
			{`request.time > timestamp("1999-01-01T00:00:00Z")`, "", ann, "grpc", opJSON("new", `{}`), true},
			{`id == auth.sub`, "", ann, "grpc", opJSON("ann", `{}`), true},
			{`id == auth.sub`, "", ann, "grpc", opJSON("bob", `{}`), false},
			{`name == "notes/" + auth.sub`, "", ann, "grpc", opJSON("ann", `{}`), true},
			{`data.n / 0 == 1`, "", ann, "grpc", opJSON("new", `{"n":1}`), false},
			{`data.nope`, "", ann, "grpc", opJSON("new", `{"n":1}`), false},
			{`auth.sub == ""`, "", nobody, "grpc", opJSON("new", `{}`), true},
			{`false`, "", w.root, "grpc", opJSON("new", `{}`), true},
		} {
			w.policy(&watchroutev1.CollectionAccess{Collection: "notes", Anonymous: true, Rules: &watchroutev1.AccessRules{Write: c.write, Delete: c.delete}})
			synctest.Wait()
			for id, text := range map[string]string{"of-ann": `{"owner":"ann"}`, "of-bob": `{"owner":"bob"}`, "new": "", "ann": "", "bob": ""} {
				w.put("notes", id, text)
			}
			head := w.log.Bounds("notes").Head
			err := w.writeOver(c.c, c.over, "notes", c.op)
			switch {
			case c.allowed && err != nil, !c.allowed && !resource.HasReason(err, resource.PermissionDenied):
				t.Errorf("%s / %s, %+v: %v", c.write, c.delete, c.op, err)
			case c.allowed != (w.log.Bounds("notes").Head > head):
				t.Errorf("%s / %s, %+v: was written or not", c.write, c.delete, c.op)
			}
		}
	})
}

func TestGuard_ComesBeforePreconditions(t *testing.T) {
	inWorld(t, func(w *world) {
		p := reading("notes", "false")
		p.Rules.Write = `data.owner == auth.sub`
		w.policy(p)
		w.put("notes", "of-bob", `{"owner":"bob"}`)
		told := map[string]bool{}
		for _, id := range []string{"of-bob", "of-nobody"} {
			for _, op := range []changelog.Op{
				{ID: id, Data: []byte(`{"owner":"bob"}`), If: changelog.Precondition{MustNotExist: true}},
				{ID: id, Data: []byte(`{"owner":"bob"}`), If: changelog.Precondition{MustExist: true}},
				{ID: id, Data: []byte(`{"owner":"bob"}`), If: changelog.Precondition{Revision: 1}},
				{ID: id, Data: []byte(`{"owner":"bob"}`), If: changelog.Precondition{ETag: "x"}},
				{ID: id, Data: []byte(`{"owner":"bob"}`)},
				{ID: id, Delete: true},
				{ID: id, Delete: true, If: changelog.Precondition{MustExist: true}},
			} {
				err := w.write(w.named("ann"), "notes", op)
				if !resource.HasReason(err, resource.PermissionDenied) {
					t.Errorf("%+v: %v", op, err)
					continue
				}
				if !op.Delete {
					told[err.Error()] = true
				}
			}
		}
		if len(told) != 1 {
			t.Errorf("what is there can be told from the errors: %v", told)
		}
	})
}

func TestGuard_RefusesTheWholeBatchForOneOfIt(t *testing.T) {
	inWorld(t, func(w *world) {
		p := reading("notes", "true")
		p.Rules.Write = `data.owner == auth.sub`
		w.policy(p)
		ctx := With(w.t.Context(), w.named("ann"))
		guard, _, err := w.control.Guard(ctx, "notes", "grpc")
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.log.Write(ctx, changelog.Write{Collection: "notes", Guard: guard, Ops: []changelog.Op{opJSON("a", `{"owner":"ann"}`), opJSON("b", `{"owner":"bob"}`)}})
		if !resource.HasReason(err, resource.PermissionDenied) || w.log.Bounds("notes").Head != 0 {
			t.Error(err)
		}
	})
}

func TestGuard_TellsCallersApart(t *testing.T) {
	inWorld(t, func(w *world) {
		p := reading("notes", "true")
		p.Anonymous, p.Rules.Write = true, "true"
		w.policy(p)
		seen := map[string]bool{}
		for _, c := range []*Caller{w.named("ann"), w.named("bob"), w.caller(nil), w.caller(jwt.MapClaims{"tenant": "acme"}), w.caller(jwt.MapClaims{"sub": "acme ann"}), w.root} {
			_, caller, err := w.control.Guard(With(w.t.Context(), c), "notes", "grpc")
			if err != nil || seen[caller] {
				t.Errorf("%q twice, or %v", caller, err)
			}
			seen[caller] = true
		}
	})
}
