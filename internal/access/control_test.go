package access

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/internal/resource"
)

// in gives the time of a claim.
func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func withHeartbeat(d time.Duration) func(*watchroutev1.WatchRequest) {
	return func(r *watchroutev1.WatchRequest) { r.Heartbeat = durationpb.New(d) }
}

// waits lets time pass while the watch is asked whenever it wakes, as a transport does,
// and says when it ended; zero: it did not.
func (s *stream) waits(d time.Duration) (ended time.Time) {
	s.t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until) && s.err == nil; {
		woken := make(chan struct{})
		go func() {
			_ = s.w.Wait(s.t.Context())
			close(woken)
		}()
		select {
		case <-woken:
		case <-time.After(time.Until(until)):
			s.w.Reconsider() // to get the goroutine back
			<-woken
		}
		s.read()
	}
	if s.err != nil {
		return time.Now()
	}
	return time.Time{}
}

func TestControl_AnExpiredCredentialEndsItsWatchesInTime(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", "true"))
		for _, heartbeat := range []time.Duration{time.Second, 10 * time.Minute} {
			c := w.caller(jwt.MapClaims{"exp": in(90 * time.Second)})
			s := w.watch(c, "notes", withHeartbeat(heartbeat))
			s.begins()
			other := w.watch(w.named("bob"), "notes")
			other.begins()
			began := time.Now()
			if ended := s.waits(10 * time.Minute); !resource.HasReason(s.err, resource.CredentialExpired) || ended.Sub(began) != 90*time.Second {
				t.Errorf("heartbeat %v: ended after %v: %v", heartbeat, ended.Sub(began), s.err)
			}
			other.read()
			if other.err != nil {
				t.Error(other.err)
			}
			w.refusesWatch(c, "notes", resource.CredentialExpired)
			if err := w.write(c, "notes", opJSON("a", `{}`)); !resource.HasReason(err, resource.CredentialExpired) {
				t.Error(err)
			}
		}
	})
}

func TestControl_RenewingKeepsTheWatchGoing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", own))
		w.put("notes", "a", `{"owner":"ann"}`)
		w.put("notes", "b", `{"owner":"bob"}`)
		c := w.caller(jwt.MapClaims{"exp": in(time.Minute)})
		s := w.watch(c, "notes", withHeartbeat(10*time.Minute))
		s.begins(`ENTERED a@1 {"owner":"ann"}`)
		renew := func(claims jwt.MapClaims) (time.Time, error) {
			at, err := w.control.Renew(w.t.Context(), c, token(claims))
			s.w.Reconsider()
			return at, err
		}
		began := time.Now()
		s.waits(59 * time.Second)
		if expires, err := renew(jwt.MapClaims{"exp": in(2 * time.Minute)}); err != nil || !expires.Equal(began.Add(59*time.Second+2*time.Minute)) {
			t.Fatal(expires, err)
		}
		s.waits(time.Minute) // past the first one
		w.put("notes", "a", `{"owner":"ann","n":2}`)
		s.says(`UPDATED a@3 {"owner":"ann","n":2}`) // and no reset

		// More rights under the new one: another scope.
		if _, err := renew(jwt.MapClaims{"exp": in(time.Minute), "roles": "auditor"}); err != nil {
			t.Fatal(err)
		}
		s.restarts(`ENTERED b@2 {"owner":"bob"}`, `ENTERED a@3 {"owner":"ann","n":2}`)

		for name, claims := range map[string]jwt.MapClaims{
			"another subject": {"sub": "bob"},
			"another tenant":  {"tenant": "acme"},
			"an operator":     {"sub": "root", "roles": "root"},
		} {
			if _, err := renew(claims); !resource.HasReason(err, resource.PermissionDenied) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := renew(jwt.MapClaims{"exp": in(-time.Hour), "iat": nil}); !resource.HasReason(err, resource.CredentialExpired) {
			t.Error(err)
		}
		if _, err := w.control.Renew(w.t.Context(), c, ""); !resource.HasReason(err, resource.CredentialMissing) {
			t.Error(err)
		}
		s.says() // none of that has done anything
		if s.waits(time.Hour); !resource.HasReason(s.err, resource.CredentialExpired) {
			t.Error(s.err)
		}
	})
}

func TestControl_ARevokedCredentialDoesNotRenew(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", "true"))
		c := w.named("ann")
		w.set(RevocationsCollection, "r", &watchroutev1.Revocation{Target: &watchroutev1.Revocation_TokenId{TokenId: "bad"}})
		if _, err := w.control.Renew(w.t.Context(), c, token(jwt.MapClaims{"jti": "bad"})); !resource.HasReason(err, resource.CredentialRevoked) {
			t.Error(err)
		}
		w.watch(c, "notes").begins()
	})
}

func TestControl_AnonymousCallersBecomeSomebody(t *testing.T) {
	inWorld(t, func(w *world) {
		p := reading("notes", "data.owner == auth.sub")
		p.Anonymous = true
		w.policy(p)
		w.put("notes", "a", `{"owner":"ann"}`)
		w.put("notes", "x", `{"owner":""}`)
		w.put("acme:notes", "y", `{"owner":"ann"}`)
		c := w.caller(nil)
		s := w.watch(c, "notes")
		s.begins(`ENTERED x@2 {"owner":""}`)
		if _, err := w.control.Renew(w.t.Context(), c, token(jwt.MapClaims{})); err != nil {
			t.Fatal(err)
		}
		s.w.Reconsider()
		s.restarts(`ENTERED a@1 {"owner":"ann"}`)

		// One of another tenant has nothing to do with the watches that were open.
		c = w.caller(nil)
		s = w.watch(c, "notes")
		s.begins(`ENTERED x@2 {"owner":""}`)
		if _, err := w.control.Renew(w.t.Context(), c, token(jwt.MapClaims{"tenant": "acme"})); err != nil {
			t.Fatal(err)
		}
		s.w.Reconsider()
		s.ends(resource.PermissionDenied)
		w.watch(c, "notes").begins(`ENTERED y@1 {"owner":"ann"}`)
	})
}

func TestControl_RevocationsEndWhatIsOpenAndRefuseWhatIsNew(t *testing.T) {
	revoke := func(change func(*watchroutev1.Revocation)) *watchroutev1.Revocation {
		r := &watchroutev1.Revocation{}
		change(r)
		return r
	}
	address := func(text string) *watchroutev1.Revocation {
		return revoke(func(r *watchroutev1.Revocation) { r.Target = &watchroutev1.Revocation_Address{Address: text} })
	}
	key := keyText("ci", 1)
	keys := func(p *Presented) { p.Secret = key }
	type who struct {
		claims jwt.MapClaims
		change []func(*Presented)
	}
	for name, c := range map[string]struct {
		revocation *watchroutev1.Revocation
		hit, not   []who
	}{
		"token": {
			revoke(func(r *watchroutev1.Revocation) { r.Target = &watchroutev1.Revocation_TokenId{TokenId: "t1"} }),
			[]who{{claims: jwt.MapClaims{"jti": "t1"}}},
			[]who{{claims: jwt.MapClaims{"jti": "t2"}}, {claims: jwt.MapClaims{}}, {change: []func(*Presented){keys}}},
		},
		"key": {
			revoke(func(r *watchroutev1.Revocation) { r.Target = &watchroutev1.Revocation_KeyId{KeyId: "ci"} }),
			[]who{{change: []func(*Presented){keys}}},
			[]who{{claims: jwt.MapClaims{"jti": "ci", "sub": "ci"}}},
		},
		"subject": {
			revoke(func(r *watchroutev1.Revocation) {
				r.Target, r.Tenant = &watchroutev1.Revocation_Subject{Subject: "ann"}, "acme"
			}),
			[]who{{claims: jwt.MapClaims{"tenant": "acme"}}},
			[]who{{claims: jwt.MapClaims{}}, {claims: jwt.MapClaims{"tenant": "acme", "sub": "bob"}}, {change: []func(*Presented){keys}}, {}},
		},
		"subject without a tenant": {
			revoke(func(r *watchroutev1.Revocation) { r.Target = &watchroutev1.Revocation_Subject{Subject: "ann"} }),
			[]who{{claims: jwt.MapClaims{}}},
			[]who{{claims: jwt.MapClaims{"tenant": "acme"}}, {}},
		},
		"tenant": {
			revoke(func(r *watchroutev1.Revocation) {
				r.Target, r.Tenant = &watchroutev1.Revocation_WholeTenant{WholeTenant: true}, "acme"
			}),
			[]who{{claims: jwt.MapClaims{"tenant": "acme"}}, {claims: jwt.MapClaims{"tenant": "acme", "sub": "bob"}}, {change: []func(*Presented){keys}}},
			[]who{{claims: jwt.MapClaims{}}, {claims: jwt.MapClaims{"tenant": "acm"}}, {}},
		},
		"address": {
			address("203.0.113.7"),
			[]who{{jwt.MapClaims{}, []func(*Presented){at("203.0.113.7")}}, {nil, []func(*Presented){at("203.0.113.7")}}},
			[]who{{jwt.MapClaims{}, []func(*Presented){at("203.0.113.8")}}, {claims: jwt.MapClaims{}}, {}},
		},
		"network": {
			address("203.0.113.9/24"),
			[]who{{jwt.MapClaims{}, []func(*Presented){at("203.0.113.200")}}, {nil, []func(*Presented){keys, at("203.0.113.0")}}},
			[]who{{jwt.MapClaims{}, []func(*Presented){at("203.0.112.255")}}, {jwt.MapClaims{}, []func(*Presented){at("2001:db8::1")}}},
		},
		"IPv6": {
			address("2001:db8::/32"),
			[]who{{jwt.MapClaims{}, []func(*Presented){at("2001:db8:1::1")}}},
			[]who{{jwt.MapClaims{}, []func(*Presented){at("2001:db9::1")}}, {jwt.MapClaims{}, []func(*Presented){at("203.0.113.8")}}},
		},
		"IPv4 in IPv6": {
			address("::ffff:203.0.113.7"),
			[]who{{jwt.MapClaims{}, []func(*Presented){at("203.0.113.7")}}, {jwt.MapClaims{}, []func(*Presented){at("::ffff:203.0.113.7")}}},
			[]who{{jwt.MapClaims{}, []func(*Presented){at("203.0.113.8")}}},
		},
		"a network of IPv4 in IPv6": {
			address("::ffff:203.0.113.0/120"),
			[]who{{jwt.MapClaims{}, []func(*Presented){at("203.0.113.7")}}, {jwt.MapClaims{}, []func(*Presented){at("::ffff:203.0.113.7")}}},
			[]who{{jwt.MapClaims{}, []func(*Presented){at("203.0.114.8")}}},
		},
		"a caller of IPv4 in IPv6": {
			address("203.0.113.0/24"),
			[]who{{jwt.MapClaims{}, []func(*Presented){at("::ffff:203.0.113.7")}}},
			[]who{{jwt.MapClaims{}, []func(*Presented){at("::ffff:203.0.114.7")}}},
		},
		"issued before": {
			revoke(func(r *watchroutev1.Revocation) {
				r.Target, r.IssuedBefore = &watchroutev1.Revocation_Subject{Subject: "ann"}, timestamppb.New(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
			}),
			[]who{{claims: jwt.MapClaims{"iat": time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC).Unix()}}, {claims: jwt.MapClaims{"iat": nil}}},
			[]who{{claims: jwt.MapClaims{}}},
		},
		"an operator": {
			revoke(func(r *watchroutev1.Revocation) { r.Target = &watchroutev1.Revocation_TokenId{TokenId: "t1"} }),
			[]who{{claims: jwt.MapClaims{"jti": "t1", "roles": "root"}}},
			[]who{{claims: jwt.MapClaims{"jti": "t2", "roles": "root"}}},
		},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			inWorld(t, func(w *world) {
				p := reading("notes", "true")
				p.Anonymous, p.Rules.Write = true, "true"
				w.policy(p)
				w.set(KeysCollection, "ci", &watchroutev1.ApiKey{KeyId: "ci", Hash: cheap(key), Subject: "robot", Tenant: "acme"})
				synctest.Wait()
				var hit, not []*stream
				var callers []*Caller
				for _, o := range c.hit {
					caller := w.caller(o.claims, o.change...)
					callers = append(callers, caller)
					hit = append(hit, w.watch(caller, "notes"))
				}
				for _, o := range c.not {
					not = append(not, w.watch(w.caller(o.claims, o.change...), "notes"))
				}
				for _, s := range append(hit, not...) {
					s.begins()
				}
				if err := w.write(w.root, RevocationsCollection, opOf("r", c.revocation)); err != nil {
					t.Fatal(err)
				}
				w.put("notes", "a", `{}`) // after it
				w.put("acme:notes", "a", `{}`)
				w.put("acm:notes", "a", `{}`)
				for i, s := range hit {
					s.read()
					if !resource.HasReason(s.err, resource.CredentialRevoked) || len(s.lines) > 0 {
						t.Errorf("%+v got %v after %q", c.hit[i], s.err, s.lines)
					}
					w.refusesWatch(callers[i], "notes", resource.CredentialRevoked)
					if err := w.write(callers[i], "notes", opJSON("a", `{}`)); !resource.HasReason(err, resource.CredentialRevoked) {
						t.Errorf("%+v may write: %v", c.hit[i], err)
					}
					if _, err := w.list(callers[i], hub.List, "notes"); !resource.HasReason(err, resource.CredentialRevoked) {
						t.Errorf("%+v may list: %v", c.hit[i], err)
					}
				}
				for _, o := range c.hit {
					var in Presented
					if o.claims != nil {
						in.Secret = token(o.claims)
					}
					for _, f := range o.change {
						f(&in)
					}
					w.refusesToEnter(in, resource.CredentialRevoked)
				}
				for i, s := range not {
					s.read()
					if s.err != nil || len(s.lines) != 1 || !strings.HasPrefix(s.lines[0], "CREATED a@1") {
						t.Errorf("%+v got %v after %q", c.not[i], s.err, s.lines)
					}
				}
				w.set(RevocationsCollection, "r", nil)
				synctest.Wait()
				for i, caller := range callers {
					if _, err := w.open(caller, "grpc", &watchroutev1.WatchRequest{Parent: "notes"}); err != nil {
						t.Errorf("%+v is still revoked: %v", c.hit[i], err)
					}
				}
			})
		})
	}
}

func TestControl_ARevocationThatChangesIsTheNewOneOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.policy(reading("notes", "true"))
		ann, bob := w.named("ann"), w.named("bob")
		of := func(subject string) *watchroutev1.Revocation {
			return &watchroutev1.Revocation{Target: &watchroutev1.Revocation_Subject{Subject: subject}}
		}
		w.set(RevocationsCollection, "r", of("ann"))
		w.set(RevocationsCollection, "s", of("ann"))
		bobs := w.watch(bob, "notes")
		bobs.begins()
		w.refusesWatch(ann, "notes", resource.CredentialRevoked)
		w.set(RevocationsCollection, "r", of("bob"))
		bobs.ends(resource.CredentialRevoked)
		w.refusesWatch(ann, "notes", resource.CredentialRevoked)
		w.set(RevocationsCollection, "s", nil)
		w.watch(ann, "notes").begins()
	})
}

func TestControl_AKeyThatChangesEndsItsWatches(t *testing.T) {
	text := keyText("ci", 1)
	inWorld(t, func(w *world) {
		w.policy(reading("notes", own))
		base := &watchroutev1.ApiKey{KeyId: "ci", Hash: cheap(text), Subject: "robot", Roles: []string{"auditor"}}
		other := proto.CloneOf(base)
		other.KeyId, other.Hash = "cd", cheap(keyText("cd", 2))
		w.set(KeysCollection, "cd", other)
		present := Presented{Credential: Credential{Secret: text}}
		var s, others *stream
		var c *Caller
		open := func(key *watchroutev1.ApiKey) {
			t.Helper()
			w.set(KeysCollection, "ci", key)
			synctest.Wait()
			c = w.enters(present)
			s, others = w.watch(c, "notes"), w.watch(w.enters(Presented{Credential: Credential{Secret: keyText("cd", 2)}}), "notes")
			s.begins()
			others.begins()
		}
		change := func(f func(*watchroutev1.ApiKey)) {
			t.Helper()
			k, _ := w.control.Key("ci")
			k = proto.CloneOf(k)
			f(k)
			w.set(KeysCollection, "ci", k)
		}
		open(base)
		change(func(k *watchroutev1.ApiKey) { k.Note = "a note" })
		change(func(k *watchroutev1.ApiKey) { k.LastUsedTime = timestamppb.Now() })
		s.says()
		for name, f := range map[string]func(*watchroutev1.ApiKey){
			"roles":   func(k *watchroutev1.ApiKey) { k.Roles = nil },
			"tenant":  func(k *watchroutev1.ApiKey) { k.Tenant = "acme" },
			"subject": func(k *watchroutev1.ApiKey) { k.Subject = "other" },
			"hash":    func(k *watchroutev1.ApiKey) { k.Hash = cheap(keyText("ci", 3)) },
			"expiry":  func(k *watchroutev1.ApiKey) { k.ExpireTime = timestamppb.New(time.Now().Add(time.Hour)) },
			"rights":  func(k *watchroutev1.ApiKey) { k.Operator = true },
		} {
			open(base)
			change(f)
			s.read()
			if !resource.HasReason(s.err, resource.CredentialRevoked) {
				t.Errorf("%s: %v", name, s.err)
			}
			w.refusesWatch(c, "notes", resource.CredentialRevoked)
			others.says()
		}
		open(base)
		w.set(KeysCollection, "ci", nil)
		s.ends(resource.CredentialRevoked)
		others.says()
		w.refusesToEnter(present, resource.CredentialInvalid)
	})
}

func TestControl_AKeyThatChangesWhileItIsCheckedIsTheOldOneNoLonger(t *testing.T) {
	text := keyText("ci", 1)
	inWorld(t, func(w *world) {
		w.policy(reading("notes", "true"))
		key := &watchroutev1.ApiKey{KeyId: "ci", Hash: cheap(text), Subject: "robot", Operator: true}
		w.set(KeysCollection, "ci", key)
		synctest.Wait()
		turns := w.control.authenticator.keys.turns
		for range cap(turns) { // others hash
			turns <- struct{}{}
		}
		var err error
		var c *Caller
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err = w.control.Enter(w.t.Context(), Presented{Credential: Credential{Secret: text}})
		}()
		synctest.Wait()
		key = proto.CloneOf(key)
		key.Operator = false
		w.set(KeysCollection, "ci", key)
		synctest.Wait()
		for range cap(turns) {
			<-turns
		}
		<-done
		if err == nil {
			t.Errorf("it is an operator's: %v", c.Principal().Operator)
		} else if !resource.HasReason(err, resource.CredentialRevoked) {
			t.Error(err)
		}
	})
}

func TestControl_AKeyExpires(t *testing.T) {
	text := keyText("ci", 1)
	inWorld(t, func(w *world) {
		w.policy(reading("notes", "true"))
		w.set(KeysCollection, "ci", &watchroutev1.ApiKey{KeyId: "ci", Hash: cheap(text), Subject: "robot", ExpireTime: timestamppb.New(time.Now().Add(time.Minute))})
		synctest.Wait()
		s := w.watch(w.enters(Presented{Credential: Credential{Secret: text}}), "notes", withHeartbeat(10*time.Minute))
		s.begins()
		began := time.Now()
		if ended := s.waits(time.Hour); ended.Sub(began) != time.Minute || !resource.HasReason(s.err, resource.CredentialExpired) {
			t.Error(ended.Sub(began), s.err)
		}
	})
}

func TestControl_TheLastUseOfAKeyIsNotedOnceAnHour(t *testing.T) {
	text := keyText("ci", 1)
	inWorld(t, func(w *world) {
		w.policy(reading("notes", "true"))
		w.set(KeysCollection, "ci", &watchroutev1.ApiKey{KeyId: "ci", Hash: cheap(text), Subject: "robot"})
		synctest.Wait()
		c := w.enters(Presented{Credential: Credential{Secret: text}})
		s := w.watch(c, "notes")
		s.begins()
		began := time.Now()
		for i := range 5 * 30 { // for five hours
			w.enters(Presented{Credential: Credential{Secret: text}})
			synctest.Wait()
			k, _ := w.control.Key("ci")
			if age := time.Since(k.GetLastUsedTime().AsTime()); age < 0 || age >= time.Hour {
				t.Fatalf("the note is %v old after %v", age, time.Since(began))
			}
			if head, most := w.log.Bounds(KeysCollection).Head, uint64(2+i/30); head > most {
				t.Fatalf("%d writes after %v", head-1, time.Since(began))
			}
			time.Sleep(2 * time.Minute)
		}
		s.read()
		if s.err != nil {
			t.Error(s.err)
		}
		k, _ := w.control.Key("ci")
		if k.GetHash() != cheap(text) || k.GetSubject() != "robot" {
			t.Errorf("the note has changed the key: %v", k)
		}
	})
}

func TestControl_WhereNobodyIsAskedEverybodyIsAnOperator(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put("acme:notes", "a", `{}`)
		w.watch(w.caller(nil, namingTenant("acme")), "notes").begins(`ENTERED a@1 {}`)
		w.watch(w.enters(Presented{Credential: Credential{Secret: "nonsense"}}), "notes").begins()
	}, func(c *setup) { c.Required = false })
}

// TestEnter_WrongKeysThatComeAtOnce: no more of them are hashed than the address has
// failures left.
func TestEnter_WrongKeysThatComeAtOnce(t *testing.T) {
	b := buckets{rate: 5}
	var under tally
	allowed := 0
	for range 200 { // all come before the first has failed
		if b.lacks("address", under.add("address", 1)) == 0 {
			allowed++
		}
	}
	if allowed != 50 {
		t.Errorf("%d of 200 are looked at at once", allowed)
	}
	for range 200 {
		under.add("address", -1)
	}
	if len(under.of) != 0 {
		t.Errorf("%v are still under way", under.of)
	}
}
