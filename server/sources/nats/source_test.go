package nats

import (
	"testing"

	"go.uber.org/goleak"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
	"github.com/watchroute/watchroute/server/sources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func place(t *testing.T, n *watchroutev1.NatsSource) *Source {
	t.Helper()
	s, err := New(&watchroutev1.Source{SourceId: "shop", Connector: &watchroutev1.Source_Nats{Nats: n}})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Source)
}

func TestNew_NamesTheFieldThatIsWrong(t *testing.T) {
	secret := &watchroutev1.Secret{At: &watchroutev1.Secret_Env{Env: "P"}}
	login := &watchroutev1.Login{Username: "u", Password: secret}
	for _, tc := range []struct {
		field  string
		change func(*watchroutev1.NatsSource)
	}{
		{"", func(*watchroutev1.NatsSource) {}},
		{"", func(n *watchroutev1.NatsSource) { n.Servers = []string{"tls://nats-1", "nats://[::1]:4222"} }},
		{"", func(n *watchroutev1.NatsSource) { n.Subjects = []string{"orders.*.placed", "returns.>"} }},
		{"nats.servers", func(n *watchroutev1.NatsSource) { n.Servers = nil }},
		{"nats.servers[1]", func(n *watchroutev1.NatsSource) { n.Servers = []string{"nats://a", "a:4222"} }},
		{"nats.servers[0]", func(n *watchroutev1.NatsSource) { n.Servers = []string{"nats://user:word@a:4222"} }},
		{"nats.stream", func(n *watchroutev1.NatsSource) { n.Stream = "" }},
		{"nats.stream", func(n *watchroutev1.NatsSource) { n.Stream = "orders.eu" }},
		{"nats.subjects[0]", func(n *watchroutev1.NatsSource) { n.Subjects = []string{"orders..placed"} }},
		{"nats.subjects[0]", func(n *watchroutev1.NatsSource) { n.Subjects = []string{">.orders"} }},
		{"nats.subjects[1]", func(n *watchroutev1.NatsSource) { n.Subjects = []string{"a", "a"} }},
		{"nats.start", func(n *watchroutev1.NatsSource) { n.Start = 9 }},
		{"nats.login.password", func(n *watchroutev1.NatsSource) { n.Login = &watchroutev1.Login{Username: "u"} }},
		{"nats.token", func(n *watchroutev1.NatsSource) { n.Token = &watchroutev1.Secret{} }},
		{"nats.token", func(n *watchroutev1.NatsSource) { n.Login, n.Token = login, secret }},
		{"nats.credentials_file", func(n *watchroutev1.NatsSource) { n.Token, n.CredentialsFile = secret, "node.creds" }},
		{"nats.tls", func(n *watchroutev1.NatsSource) { n.Tls = &watchroutev1.ClientTls{KeyFile: "key.pem"} }},
	} {
		n := &watchroutev1.NatsSource{Servers: []string{"nats://nats-1:4222"}, Stream: "ORDERS"}
		tc.change(n)
		_, err := New(&watchroutev1.Source{SourceId: "shop", Connector: &watchroutev1.Source_Nats{Nats: n}})
		if tc.field == "" {
			if err != nil {
				t.Errorf("%v: %v", n, err)
			}
			continue
		}
		if !resource.HasReason(err, resource.InvalidField) || resource.AsError(err).Metadata["field"] != tc.field {
			t.Errorf("%v: got %v, want %s", n, err, tc.field)
		}
	}
}

func TestRun_WhereNothingListensIsNotForGood(t *testing.T) {
	s := place(t, &watchroutev1.NatsSource{Servers: []string{"nats://127.0.0.1:1"}, Stream: "ORDERS"})
	l := newLog()
	err := s.Run(t.Context(), l, l)
	says(t, err, false, "no server answers")
	if sources.IsPermanent(err) || l.connected {
		t.Errorf("got %v, connected: %v", err, l.connected)
	}
}
