package e2e

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// TestCommandLine_PutGetListDelete: the binary as a client of itself.
func TestCommandLine_PutGetListDelete(t *testing.T) {
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", "shop"}})
	run := func(args ...string) (string, string, int) {
		t.Helper()
		return output(t, exec.Command(process.Binary(t, process.Race), append(args, "--server", s.GRPC)...))
	}
	ok := func(args ...string) string {
		t.Helper()
		out, errs, code := run(args...)
		if code != 0 {
			t.Fatalf("watchroute %v: %d %s", args, code, errs)
		}
		return out
	}
	refused := func(want string, args ...string) {
		t.Helper()
		out, errs, code := run(args...)
		if code == 0 || !strings.Contains(errs, want) {
			t.Errorf("watchroute %v: exit code %d, %s%s; want %s", args, code, out, errs, want)
		}
	}
	ok("put", "orders/1", `{"customerId":"7","status":"PENDING","total":{"units":"12"}}`)
	ok("put", "orders/2", `{"customerId":"8","status":"PENDING"}`)
	ok("put", "notes/1", `{"text":"hi","n":1.50}`, "--label", "colour=red")
	if out := ok("get", "orders/1"); !strings.Contains(out, `"customerId": "7"`) {
		t.Errorf("get: %s", out)
	}
	if out := ok("get", "notes/1", "-o", "json"); !strings.Contains(out, `"labels":{"colour":"red"}`) || !strings.Contains(out, `"text":"hi"`) || strings.Contains(out, "@type") {
		t.Errorf("get -o json: %s", out)
	}
	if out := ok("list", "orders", "--filter", `data.customer_id == "8"`); !strings.Contains(out, "orders/2") || strings.Contains(out, "orders/1") {
		t.Errorf("list: %s", out)
	}
	if out := ok("list", "orders", "-o", "json"); strings.Count(out, "\n") != 2 {
		t.Errorf("list -o json: %s", out)
	}
	refused("PRECONDITION_FAILED", "put", "orders/1", `{}`, "--must-not-exist")
	refused("RESOURCE_NOT_FOUND", "get", "orders/3")
	refused("INVALID_FILTER", "list", "orders", "--filter", "data.nothing == 1")
	refused("INVALID_VALUE", "put", "orders/1", `{"status":"LOST"}`)
	refused("error:", "put", "notes/2", `{"text":`)
	ok("delete", "orders/1")
	refused("RESOURCE_NOT_FOUND", "delete", "orders/1")
	ok("delete", "orders/1", "--allow-missing")
	if _, errs, code := output(t, exec.Command(process.Binary(t, process.Race), "get", "notes/1", "--server", "127.0.0.1:1")); code != 1 || !strings.Contains(errs, "127.0.0.1:1") {
		t.Errorf("without a server: exit code %d, %s", code, errs)
	}
	if _, errs, code := output(t, exec.Command(process.Binary(t, process.Race), "serve", "--retention-aeg", "1h")); code == 0 || !strings.Contains(errs, "--retention-age") {
		t.Errorf("an unknown flag: exit code %d, %s", code, errs)
	}
}

// TestCommandLine_WatchGoesOnByItselfAcrossARestart: P5, P8. Once the server is told
// to end, once it is killed.
func TestCommandLine_WatchGoesOnByItselfAcrossARestart(t *testing.T) {
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--drain-spread", "200ms"}})
	put(t, s, "notes/1", `{"text":"before"}`)
	watch := func(args ...string) *command {
		cmd := exec.Command(process.Binary(t, process.Race), append([]string{"watch", "notes", "--server", s.GRPC}, args...)...)
		cmd.Env = process.Env()
		return start(t, cmd)
	}
	human, machine := watch(), watch("-o", "json", "--every-change")
	human.line(contains("notes/1", "before"))
	machine.line(contains(`"snapshotEnd"`))
	seen := func(name string) {
		t.Helper()
		human.line(contains("notes/"+name, "after"))
		machine.line(contains(`"events"`, `"notes/`+name+`"`))
	}

	s.Stop()
	s.Start()
	put(t, s, "notes/2", `{"text":"after a drain"}`)
	seen("2")
	s.Kill()
	s.Start()
	put(t, s, "notes/3", `{"text":"after a kill"}`)
	seen("3")

	for _, c := range []*command{human, machine} {
		if !strings.Contains(c.errors(), "connecting again") && !strings.Contains(c.errors(), "going away") {
			t.Errorf("it does not say that it connected again: %s", c.errors())
		}
		if strings.Contains(c.errors(), "reset") {
			t.Errorf("it was reset: %s", c.errors())
		}
	}
	rest := drainLines(human)
	if strings.Contains(rest, "notes/1") || strings.Contains(rest, "notes/2") {
		t.Errorf("what was seen came again: %s", rest)
	}

	// Ctrl-C ends it in order, and it says where to go on.
	human.signal(syscall.SIGINT)
	if err := human.end(); err != nil {
		t.Errorf("after SIGINT the watch ended with %v: %s", err, human.errors())
	}
	if !strings.Contains(human.errors(), "--resume-token") {
		t.Errorf("it does not say how to go on: %s", human.errors())
	}
}

// drainLines gives what a command has said that was not read yet.
func drainLines(c *command) string {
	var all strings.Builder
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				return all.String()
			}
			all.WriteString(line + "\n")
		default:
			return all.String()
		}
	}
}
