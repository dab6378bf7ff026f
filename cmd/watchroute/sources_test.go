package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/watchroute/watchroute/server/config"
)

// TestCommands_SourcesAndDeadLetters is an operator's other day: a webhook, whose mapping
// is wrong at first.
func TestCommands_SourcesAndDeadLetters(t *testing.T) {
	t.Setenv("SHOP_TOKEN", "sesame")
	web, calls := serveBoth(t, func(c *config.Config) { c.AutoCreate = new(true) })
	sh := shell{t, calls}
	const source = `source_id: shop
webhook: {token: {env: SHOP_TOKEN}}
decoding: {format: CLOUDEVENTS}
mappings:
  - {collection: things, id: data.key, put: data}
`
	if _, errs, code := sh.in(strings.Replace(source, "data.key", "data.key +", 1), "sources", "put"); code != 1 || !strings.Contains(errs, "mappings[0].id") {
		t.Errorf("a mapping that does not compile: %d, %s", code, errs)
	}
	if out, errs, code := sh.in(source, "sources", "put"); code != 0 || !strings.Contains(out, "system.sources/shop") {
		t.Fatalf("sources put: %d, %s%s", code, out, errs)
	}
	until := func(what string, args ...string) string {
		t.Helper()
		for began := time.Now(); time.Since(began) < 20*time.Second; {
			if out := sh.works(args...); strings.Contains(out, what) {
				return out
			}
			time.Sleep(20 * time.Millisecond) // another process' time, as it were
		}
		t.Fatalf("%v never says %s, but %s", args, what, sh.works(args...))
		return ""
	}
	until("RUNNING", "sources", "list")
	post := func(body string) {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+web+"/v1/sources/shop", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/cloudevents+json")
		q.Header.Set("Authorization", "Bearer sesame")
		res, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusAccepted {
			t.Errorf("%s: %s", body, res.Status)
		}
	}
	post(`{"specversion":"1.0","type":"t","source":"/s","id":"1","data":{"key":"a"}}`)
	post(`{"specversion":"1.0","type":"t","source":"/s","id":"2","data":{"id":"b"}}`)
	sh.works("get", "things/a")
	list := sh.works("deadletters", "list", "--source", "shop")
	_, line, _ := strings.Cut(list, "\n")
	id, _, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(id, "shop~") || !strings.Contains(line, "INVALID_VALUE: mappings[0].id") {
		t.Fatalf("deadletters list: %s", list)
	}
	if out := sh.works("deadletters", "show", id, "--raw"); !strings.Contains(out, `"id":"b"`) {
		t.Errorf("deadletters show --raw: %s", out)
	}
	if out := sh.works("deadletters", "show", id); !strings.Contains(out, "deadletterId") {
		t.Errorf("deadletters show: %s", out)
	}
	if out := sh.works("sources", "list", "-o", "json"); !strings.Contains(out, `"RUNNING"`) {
		t.Errorf("sources list as JSON: %s", out)
	}
	mended := strings.Replace(source, "data.key", "has(data.key) ? data.key : data.id", 1)
	if _, errs, code := sh.in("- "+strings.ReplaceAll(mended, "\n", "\n  "), "sources", "put"); code != 0 {
		t.Fatalf("a list: %s", errs)
	}
	sh.works("deadletters", "replay", "--all")
	until("things/b", "list", "things")
	if out := sh.works("deadletters", "list"); strings.Contains(out, "shop~") {
		t.Errorf("it is still dead: %s", out)
	}
	if _, errs, code := sh.in("", "deadletters", "drop"); code != 1 || !strings.Contains(errs, "--all") {
		t.Errorf("drop of nothing: %d, %s", code, errs)
	}
	sh.works("sources", "pause", "shop")
	until("PAUSED", "sources", "list")
	sh.works("sources", "resume", "shop")
	until("RUNNING", "sources", "list")
	sh.works("sources", "delete", "shop")
	for strings.Contains(sh.works("sources", "list"), "shop") {
		time.Sleep(20 * time.Millisecond)
	}
}
