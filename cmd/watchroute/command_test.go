package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/node"
	"github.com/watchroute/watchroute/internal/wire"
	"github.com/watchroute/watchroute/server/config"
)

func TestMain(m *testing.M) {
	// improbable-eng/grpc-web imports a package that starts this one in its init.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/desertbit/timer.timerRoutine"))
}

// serve runs a node and gives its gRPC address.
func serve(t *testing.T, change func(*config.Config)) string {
	t.Helper()
	_, calls := serveBoth(t, change)
	return calls
}

// serveBoth gives the address for HTTP, too.
func serveBoth(t *testing.T, change func(*config.Config)) (http, calls string) {
	t.Helper()
	c := config.Default()
	c.Data, c.HTTP, c.GRPC = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	if change != nil {
		change(&c)
	}
	n, err := node.Start(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Stop(context.Background()) })
	web, grpc := n.Addresses()
	return web.String(), grpc.String()
}

// screen is what a command prints, while it runs.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed at the next write; nil: nobody waits
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until a text has been printed.
func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		if strings.Contains(s.text.String(), text) {
			s.mu.Unlock()
			return
		}
		if s.more == nil {
			s.more = make(chan struct{})
		}
		more := s.more
		s.mu.Unlock()
		select {
		case <-more:
		case <-late:
			t.Fatalf("%q was not printed, but\n%s", text, s)
		}
	}
}

// shell runs commands against one server.
type shell struct {
	t      *testing.T
	server string
}

// in runs a command with some input.
func (s shell) in(input string, args ...string) (out, errs string, code int) {
	s.t.Helper()
	var stdout, stderr screen
	code = run(s.t.Context(), append(args, "--server", s.server), nil, &terminal{strings.NewReader(input), &stdout, &stderr})
	return stdout.String(), stderr.String(), code
}

// works runs a command that must succeed.
func (s shell) works(args ...string) string {
	s.t.Helper()
	out, errs, code := s.in("", args...)
	if code != 0 {
		s.t.Fatalf("%q: exit code %d\n%s", args, code, errs)
	}
	return out
}

func TestCommands_WriteAndRead(t *testing.T) {
	sh := shell{t, serve(t, nil)}
	if out := sh.works("put", "notes/1", `{"text": "hi"}`, "--label", "kind=short", "-l", "by=me"); out != "notes/1 put, revision 1\n" {
		t.Errorf("put: %q", out)
	}
	if out := sh.works("put", "notes/1", `{"text": "hi"}`, "--label", "kind=short", "-l", "by=me"); out != "notes/1 unchanged, revision 1\n" {
		t.Errorf("put again: %q", out)
	}
	file := filepath.Join(t.TempDir(), "value.json")
	if err := os.WriteFile(file, []byte(`{"text": "from a file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	sh.works("put", "notes/2", "@"+file)
	if _, errs, code := sh.in(`{"text": "from a pipe"}`, "put", "notes/3"); code != 0 {
		t.Fatal(errs)
	}
	out, errs, _ := sh.in("", "get", "notes/1")
	if out != "{\n  \"text\": \"hi\"\n}\n" || !strings.Contains(errs, `# notes/1, revision 1, etag `) || !strings.Contains(errs, `{"by":"me","kind":"short"}`) {
		t.Errorf("get: %q, %q", out, errs)
	}
	if out := sh.works("get", "notes/2", "-o", "json"); !strings.HasPrefix(out, `{"name":"notes/2",`) || !strings.HasSuffix(out, `"data":{"text":"from a file"}}`+"\n") {
		t.Errorf("get -o json: %q", out)
	}
	if out := sh.works("list", "notes", "--filter", `data.text.startsWith("from")`); strings.Count(out, "\n") != 2 || !strings.Contains(out, `notes/3 {"text":"from a pipe"}`) {
		t.Errorf("list: %q", out)
	}
	if out := sh.works("list", "notes", "--limit", "1", "-o", "json"); strings.Count(out, "\n") != 1 {
		t.Errorf("list --limit: %q", out)
	}
	if out := sh.works("delete", "notes/3"); out != "notes/3 deleted, revision 4\n" {
		t.Errorf("delete: %q", out)
	}
	if out := sh.works("delete", "notes/3", "--allow-missing", "-o", "json"); !strings.Contains(out, `"changed":false`) {
		t.Errorf("delete again: %q", out)
	}
}

func TestCommands_ListTakesAllPages(t *testing.T) {
	sh := shell{t, serve(t, nil)}
	conn, err := (&client{Server: sh.server}).dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.conn.Close()
	const most = 1000 // of a batch, and of a page
	batch := &watchroutev1.WriteRequest{Parent: "notes"}
	for i := range most {
		batch.Operations = append(batch.Operations, &watchroutev1.Operation{Action: &watchroutev1.Operation_Put{
			Put: &watchroutev1.Resource{Name: fmt.Sprintf("notes/%04d", i), Data: wire.JSONText([]byte("{}"))}}})
	}
	if _, err := conn.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		sh.works("put", fmt.Sprintf("notes/z%d", i), `{}`)
	}
	for limit, want := range map[string]int{"0": most + 3, "1001": most + 1, "999": most - 1} {
		if n := strings.Count(sh.works("list", "notes", "--limit", limit), "\n"); n != want {
			t.Errorf("--limit %s: %d lines", limit, n)
		}
	}
}

func TestCommands_SayWhatWentWrong(t *testing.T) {
	sh := shell{t, serve(t, nil)}
	sh.works("put", "notes/1", `{"n": 1}`)
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"missing":        {[]string{"get", "notes/9"}, 1, []string{"error: RESOURCE_NOT_FOUND: there is no resource", "(name)\n"}},
		"collection":     {[]string{"watch", "system.nothing"}, 1, []string{"error: COLLECTION_NOT_FOUND: "}},
		"name":           {[]string{"get", "NOTES/1"}, 1, []string{"error: INVALID_NAME: "}},
		"filter":         {[]string{"list", "notes", "--filter", "data.n =="}, 1, []string{"error: INVALID_FILTER: ", "(filter)\nhint: ", "line 1, column 10"}},
		"filter, watch":  {[]string{"watch", "notes", "--filter", "data.n =="}, 1, []string{"error: INVALID_FILTER: "}},
		"value":          {[]string{"put", "notes/2", "{"}, 1, []string{"error: INVALID_VALUE: "}},
		"revision":       {[]string{"put", "notes/1", "{}", "--if-revision", "77"}, 1, []string{"error: PRECONDITION_FAILED: ", "hint: it is at revision 1"}},
		"exists":         {[]string{"put", "notes/1", "{}", "--must-not-exist"}, 1, []string{"error: PRECONDITION_FAILED: "}},
		"token":          {[]string{"watch", "notes", "--resume-token", "xx"}, 1, []string{"error: INVALID_TOKEN: "}},
		"future":         {[]string{"watch", "notes", "--after-revision", "99"}, 1, []string{"error: FUTURE_REVISION: "}},
		"nobody there":   {[]string{"get", "notes/1", "--server", "127.0.0.1:1"}, 1, []string{"error: UNAVAILABLE: ", "hint: is a server at 127.0.0.1:1?"}},
		"two starts":     {[]string{"watch", "notes", "--from", "now", "--resume-token", "x"}, 2, []string{"can't be used together"}},
		"unknown start":  {[]string{"watch", "notes", "--from", "never"}, 1, []string{"neither snapshot nor now"}},
		"unknown flag":   {[]string{"get", "notes/1", "--min-revison", "1"}, 2, []string{"--min-revision"}},
		"two conditions": {[]string{"put", "notes/1", "{}", "--must-not-exist", "--if-revision", "1"}, 2, []string{"can't be used together"}},
		"collections":    {[]string{"watch", "notes", "notes/1"}, 1, []string{"one collection"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if !strings.Contains(strings.Join(args, " "), "--server") {
				args = append(args, "--server", sh.server)
			}
			var out, errs screen
			code := run(t.Context(), args, nil, &terminal{strings.NewReader(""), &out, &errs})
			for _, want := range c.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("%q does not say %q", errs.String(), want)
				}
			}
			if code != c.code || out.String() != "" || strings.Contains(errs.String(), "rpc error") {
				t.Errorf("exit code %d, output %q, errors %q", code, out.String(), errs.String())
			}
		})
	}
}

// watch runs a watch until the returned function ends it, as SIGINT does.
func (s shell) watch(args ...string) (out, errs *screen, end func() int) {
	out, errs = &screen{}, &screen{}
	ctx, cancel := context.WithCancel(s.t.Context())
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, append([]string{"watch", "--server", s.server}, args...), nil, &terminal{nil, out, errs})
	}()
	return out, errs, func() int {
		cancel()
		return <-code
	}
}

func TestWatch_ShowsTheStateAndThenChangesAndEndsInOrder(t *testing.T) {
	sh := shell{t, serve(t, nil)}
	sh.works("put", "notes/1", `{"n": 1}`)
	out, errs, end := sh.watch("notes")
	errs.await(t, "# that is all at revision 1: 1; changes follow")
	sh.works("put", "notes/1", `{"n": 2}`)
	sh.works("delete", "notes/1")
	out.await(t, "DELETED")
	if code := end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for i, want := range []string{`1        ENTERED  notes/1 {"n":1}`, `2        UPDATED  notes/1 {"n":2}`, `3        DELETED  notes/1`} {
		if got := strings.Split(out.String(), "\n")[i]; got != want {
			t.Errorf("line %d is %q, expected %q", i, got, want)
		}
	}
	_, token, found := strings.Cut(errs.String(), "--resume-token ")
	if !found {
		t.Fatalf("no token: %s", errs)
	}
	sh.works("put", "notes/2", `{}`)
	out, errs, end = sh.watch("notes", "--resume-token", strings.TrimSpace(token))
	out.await(t, "4        CREATED  notes/2 {}\n")
	if end(); !strings.HasPrefix(errs.String(), "# resumed after revision 3\n") {
		t.Errorf("got %q", errs)
	}
}

func TestWatch_AsJSONIsWhatHTTPSends(t *testing.T) {
	sh := shell{t, serve(t, func(c *config.Config) { c.Contracts = []string{config.ExampleContract} })}
	out, _, end := sh.watch("orders", "-o", "json", "--delta", "--every-change")
	out.await(t, `"snapshotEnd":{}`)
	sh.works("put", "orders/1", `{"customerId": "7"}`)
	sh.works("put", "orders/1", `{"customerId": "8"}`)
	out.await(t, `"baseRevision"`)
	end()
	lines := strings.Split(out.String(), "\n")
	if lines[0] != `{"started":{"mode":"SNAPSHOT","silenceLimit":"30s"}}` {
		t.Errorf("got %s", lines[0])
	}
	for _, want := range []string{`"type":"shop.v1.Order","data":{"orderId":"1","customerId":"7"}`, `"data":{"customerId":"8"}},"updatedFields":"customerId","baseRevision":"1"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
}

// fleet is a contract that this binary does not know.
func fleet(t *testing.T) string {
	t.Helper()
	text := func(s string) *string { return &s }
	options := &descriptorpb.MessageOptions{}
	proto.SetExtension(options, watchroutev1.E_Resource, &watchroutev1.ResourceOptions{Collection: "cars", IdField: "plate"})
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type, message string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Type: &kind, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
		if message != "" {
			f.TypeName = &message
		}
		return f
	}
	const str, msg = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{
		Name: text("fleet/v1/place.proto"), Package: text("fleet.v1"), Syntax: text("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: text("Place"), Field: []*descriptorpb.FieldDescriptorProto{field("town", 1, str, "")}}},
	}, {
		Name: text("fleet/v1/fleet.proto"), Package: text("fleet.v1"), Syntax: text("proto3"),
		Dependency: []string{"watchroute/v1/options.proto", "fleet/v1/place.proto"},
		MessageType: []*descriptorpb.DescriptorProto{{Name: text("Car"), Options: options, Field: []*descriptorpb.FieldDescriptorProto{
			field("plate", 1, str, ""), field("place", 2, msg, ".fleet.v1.Place"),
		}}},
	}}}
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fleet.binpb")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestCommands_ShowValuesOfContractsThatAreNotCompiledIn(t *testing.T) {
	file := fleet(t)
	sh := shell{t, serve(t, func(c *config.Config) { c.Contracts = []string{file} })}
	sh.works("put", "cars/HH-1", `{"place": {"town": "Hamburg"}}`)
	if out := sh.works("get", "cars/HH-1", "-o", "json"); !strings.Contains(out, `"type":"fleet.v1.Car","data":{"plate":"HH-1","place":{"town":"Hamburg"}}`) {
		t.Errorf("got %s", out)
	}
	out, _, end := sh.watch("cars/HH-1", "--filter", `data.place.town == "Hamburg"`)
	out.await(t, `{"plate":"HH-1","place":{"town":"Hamburg"}}`)
	end()
}

func TestServe_RefusesWhatItCannotUse(t *testing.T) {
	for name, c := range map[string]struct {
		args, environ []string
		want          string
	}{
		"other machines": {[]string{"serve", "--http", ":0"}, nil, "--insecure"},
		"a flag":         {[]string{"serve", "--retention-aeg", "1h"}, nil, "--retention-age"},
		"a variable":     {[]string{"serve"}, []string{"WATCHROUTE_HTPP=:1"}, "WATCHROUTE_HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			var errs screen
			if code := run(t.Context(), c.args, c.environ, &terminal{nil, &errs, &errs}); code != 2 || !strings.Contains(errs.String(), c.want) {
				t.Errorf("exit code %d: %s", code, &errs)
			}
		})
	}
}

func TestServe_RunsUntilItIsTold(t *testing.T) {
	t.Chdir(t.TempDir())
	var errs screen
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{"serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--log-format", "json"}, nil, &terminal{nil, &errs, &errs})
	}()
	errs.await(t, `"msg":"serving"`)
	cancel()
	if got := <-code; got != 0 || !strings.Contains(errs.String(), `"msg":"stopped"`) {
		t.Errorf("exit code %d: %s", got, &errs)
	}
	if _, err := os.Stat(config.DefaultData); err != nil {
		t.Error(err)
	}
}

func TestDemo_MovesOrders(t *testing.T) {
	t.Chdir(t.TempDir())
	var out, errs screen
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{"demo", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--rate", "200"}, nil, &terminal{nil, &out, &errs})
	}()
	out.await(t, "Ctrl-C ends it.")
	_, rest, _ := strings.Cut(out.String(), "grpcurl -plaintext ")
	calls, _, _ := strings.Cut(rest, " ")
	watched, _, end := shell{t, calls}.watch("orders")
	watched.await(t, `"status":"SHIPPED"`)
	end()
	cancel()
	if got := <-code; got != 0 || strings.Contains(errs.String(), "level=ERROR") {
		t.Errorf("exit code %d: %s", got, &errs)
	}
	if _, err := os.Stat(config.DefaultData); err == nil {
		t.Error("the demo left its data behind")
	}
}
