package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchroute/watchroute/server/config"
)

// TestCommands_KeysGrantsAndRevocations is an operator's day: a key for a partner, whom
// rules let see its own things, after it has asked, until it is revoked.
func TestCommands_KeysGrantsAndRevocations(t *testing.T) {
	folder := t.TempDir()
	settings := filepath.Join(folder, "access.yaml")
	offline, errs, code := shell{t, ""}.in("", "keys", "new", "root", "--operator", "--offline")
	_, key, ok := strings.Cut(errs, "  - ")
	if code != 0 || !ok || !strings.HasPrefix(offline, "wr_root_") {
		t.Fatalf("keys new --offline: %d, %q, %q", code, offline, errs)
	}
	if err := os.WriteFile(settings, []byte("keys:\n  - "+key), 0o600); err != nil {
		t.Fatal(err)
	}
	sh := shell{t, serve(t, func(c *config.Config) { c.Access = settings; c.AutoCreate = new(true) })}
	root := []string{"--token", strings.TrimSpace(offline)}
	as := func(who []string, args ...string) []string { return append(args, who...) }
	refused := func(want string, args ...string) {
		t.Helper()
		if out, errs, code := sh.in("", args...); code != 1 || !strings.Contains(errs, want) {
			t.Errorf("%v: exit code %d, %s%s; expected %s", args, code, out, errs, want)
		}
	}

	refused("CREDENTIAL_MISSING", "list", "things")
	sh.works(as(root, "put", "things/1", `{"owner":"partner"}`)...)
	sh.works(as(root, "put", "things/2", `{"owner":"other"}`)...)
	sh.works(as(root, "put", "system.collections/things", `{"rules":{"get":"data.owner == auth.sub"},"watchRoute":{"approval":true}}`)...)
	secret := sh.works(as(root, "keys", "new", "p1", "--subject", "partner", "--note", "for the partner")...)
	file := filepath.Join(folder, "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	partner := []string{"--token", "@" + file}
	if out := sh.works(as(partner, "list", "things")...); !strings.Contains(out, "things/1") || strings.Contains(out, "things/2") {
		t.Errorf("the partner lists %s", out)
	}
	refused("exists", as(root, "keys", "new", "p1")...)
	refused("PERMISSION_DENIED", as(partner, "put", "things/1", `{"owner":"partner"}`)...)
	refused("PERMISSION_DENIED", as(append([]string{"--tenant", "acme"}, partner...), "list", "things")...)
	if out := sh.works(as(root, "get", "system.keys/p1")...); strings.Contains(out, "argon2") || !strings.Contains(out, "for the partner") {
		t.Errorf("the key is shown as %s", out)
	}

	watch := as(partner, "watch", "things", "--timeout", "2s")
	refused("APPROVAL_REQUIRED", watch...)
	grant := "system.grants/things~~partner"
	sh.works(as(partner, "put", grant, `{"collection":"things","subject":"partner"}`)...)
	refused("PERMISSION_DENIED", as(partner, "grants", "approve", grant)...)
	sh.works(as(root, "grants", "approve", grant, "--for", "1h", "--note", "asked nicely")...)
	if out := sh.works(as(partner, "get", grant)...); !strings.Contains(out, `"APPROVED"`) || !strings.Contains(out, `"decidedBy": "root"`) {
		t.Errorf("the grant is %s", out)
	}
	sh.works(as(root, "grants", "refuse", grant)...)
	refused("it was refused", watch...)

	for i, flag := range [][]string{{"--api-key", "p1"}, {"--subject", "partner", "--note", "left"}} {
		id := fmt.Sprint("r", i)
		sh.works(as(root, append([]string{"revoke", id}, flag...)...)...)
		refused("CREDENTIAL_REVOKED", as(partner, "list", "things")...)
		sh.works(as(root, "delete", "system.revocations/"+id)...)
		sh.works(as(partner, "list", "things")...)
	}
	sh.works(as(root, "revoke", "others", "--whole-tenant", "--of-tenant", "acme", "--until-now")...)
	sh.works(as(root, "revoke", "far", "--address", "203.0.113.0/24")...)
	sh.works(as(partner, "list", "things")...)
	sh.works(as(root, "delete", "system.keys/p1")...)
	refused("CREDENTIAL_", as(partner, "list", "things")...)
}
