package postgres

import (
	"errors"
	"strings"
	"testing"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

func spec(change func(*watchroutev1.PostgresSource)) *watchroutev1.Source {
	p := &watchroutev1.PostgresSource{
		Url:    "postgres://db.example:5433/shop",
		Login:  &watchroutev1.Login{Username: "reader", Password: &watchroutev1.Secret{At: &watchroutev1.Secret_Env{Env: "NOT_SET_ANYWHERE"}}},
		Tables: []string{"orders", "stock.items"},
	}
	if change != nil {
		change(p)
	}
	return &watchroutev1.Source{SourceId: "shop-1", Connector: &watchroutev1.Source_Postgres{Postgres: p}}
}

func TestNew_ChecksWithoutConnecting(t *testing.T) {
	if _, err := New(spec(nil)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		field  string
		change func(*watchroutev1.PostgresSource)
	}{
		"no URL":             {"postgres.url", func(p *watchroutev1.PostgresSource) { p.Url = "" }},
		"another scheme":     {"postgres.url", func(p *watchroutev1.PostgresSource) { p.Url = "mysql://db/shop" }},
		"no host":            {"postgres.url", func(p *watchroutev1.PostgresSource) { p.Url = "postgres:///shop" }},
		"no database":        {"postgres.url", func(p *watchroutev1.PostgresSource) { p.Url = "postgres://db:5432" }},
		"a bad port":         {"postgres.url", func(p *watchroutev1.PostgresSource) { p.Url = "postgres://db:99999/shop" }},
		"a name in it":       {"postgres.url", func(p *watchroutev1.PostgresSource) { p.Url = "postgres://me@db/shop" }},
		"a password in it":   {"postgres.url", func(p *watchroutev1.PostgresSource) { p.Url = "postgres://me:s3cret@db/shop" }},
		"parameters":         {"postgres.url", func(p *watchroutev1.PostgresSource) { p.Url = "postgres://db/shop?password=s3cret" }},
		"no login":           {"postgres.login", func(p *watchroutev1.PostgresSource) { p.Login = nil }},
		"no name":            {"postgres.login.username", func(p *watchroutev1.PostgresSource) { p.Login.Username = "" }},
		"no tables":          {"postgres.tables", func(p *watchroutev1.PostgresSource) { p.Tables = nil }},
		"an empty table":     {"postgres.tables[1]", func(p *watchroutev1.PostgresSource) { p.Tables[1] = "stock." }},
		"a table twice":      {"postgres.tables[1]", func(p *watchroutev1.PostgresSource) { p.Tables[1] = "public.orders" }},
		"three parts":        {"postgres.tables[0]", func(p *watchroutev1.PostgresSource) { p.Tables[0] = "a.b.c" }},
		"a slot in capitals": {"postgres.slot", func(p *watchroutev1.PostgresSource) { p.Slot = "Slot" }},
		"a long publication": {"postgres.publication", func(p *watchroutev1.PostgresSource) { p.Publication = strings.Repeat("x", 64) }},
		"half a certificate": {"postgres.tls", func(p *watchroutev1.PostgresSource) { p.Tls = &watchroutev1.ClientTls{CertFile: "x"} }},
	} {
		_, err := New(spec(test.change))
		var e *resource.Error
		if !errors.As(err, &e) || e.Reason != resource.InvalidField || e.Metadata["field"] != test.field {
			t.Errorf("%s: %v", name, err)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error has the password: %v", name, err)
		}
	}
	if _, err := New(spec(func(p *watchroutev1.PostgresSource) { p.Tables, p.Publication = nil, "all" })); err != nil {
		t.Errorf("a publication alone: %v", err)
	}
}

func TestNew_NamesOfSlotsAreAllowedAndTellIDsApart(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"a", "a_b", "a-b", "A_b", "ä_b", strings.Repeat("x", 100), strings.Repeat("x", 101), ""} {
		name := ownName(id)
		if !slotName.MatchString(name) {
			t.Errorf("%q gives %q", id, name)
		}
		if other, ok := seen[name]; ok {
			t.Errorf("%q and %q give %q", id, other, name)
		}
		seen[name] = id
	}
	if got := ownName("orders"); got != "watchroute_orders" {
		t.Errorf("orders gives %q", got)
	}
}
