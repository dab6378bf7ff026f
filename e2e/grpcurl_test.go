package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// TestGrpcurl_ListsDescribesGetsAndWatches: by reflection alone.
func TestGrpcurl_ListsDescribesGetsAndWatches(t *testing.T) {
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", "shop"}})
	grpcurl := goTool(t, ".", "grpcurl")
	run := func(args ...string) (string, string, int) {
		t.Helper()
		return output(t, exec.Command(grpcurl, append([]string{"-plaintext", "-max-time", "20"}, args...)...))
	}
	call := func(args ...string) string {
		t.Helper()
		out, errs, code := run(args...)
		if code != 0 {
			t.Fatalf("grpcurl %v: %s", args, errs)
		}
		return out
	}
	services := call(s.GRPC, "list")
	for _, want := range []string{"watchroute.v1.ResourceService", "shop.v1.OrderService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} {
		if !strings.Contains(services, want+"\n") {
			t.Errorf("grpcurl list does not have %s: %s", want, services)
		}
	}
	if out := call(s.GRPC, "describe", "watchroute.v1.ResourceService.Watch"); !strings.Contains(out, "stream .watchroute.v1.WatchResponse") {
		t.Errorf("describe: %s", out)
	}
	if out := call(s.GRPC, "grpc.health.v1.Health/Check"); !strings.Contains(out, "SERVING") {
		t.Errorf("health: %s", out)
	}
	put(t, s, "orders/42", `{"customerId":"7","status":"PENDING"}`)
	if out := call("-d", `{"name":"orders/42"}`, s.GRPC, "watchroute.v1.ResourceService/Get"); !strings.Contains(out, `"customerId": "7"`) {
		t.Errorf("Get: %s", out)
	}
	if out := call("-d", `{"orderId":"42"}`, s.GRPC, "shop.v1.OrderService/GetOrder"); !strings.Contains(out, `"status": "PENDING"`) {
		t.Errorf("GetOrder: %s", out)
	}

	begin := func(request, method string) *command {
		cmd := exec.Command(grpcurl, "-plaintext", "-d", request, s.GRPC, method)
		cmd.Env = process.Env()
		c := start(t, cmd)
		c.line(contains(`"snapshotEnd"`))
		return c
	}
	watches := []*command{
		begin(`{"parent":"orders","filter":"data.customer_id == \"7\""}`, "watchroute.v1.ResourceService/Watch"),
		begin(`{"orderId":"42"}`, "shop.v1.OrderService/WatchOrder"),
		begin(`{}`, "shop.v1.OrderService/WatchOrders"),
	}
	put(t, s, "orders/42", `{"customerId":"7","status":"SHIPPED"}`)
	for _, w := range watches {
		w.line(contains(`"status": "SHIPPED"`))
	}

	// An error has its code and details.
	_, errs, code := run("-d", `{"name":"orders/43"}`, s.GRPC, "watchroute.v1.ResourceService/Get")
	if code == 0 || !strings.Contains(errs, "NotFound") || !strings.Contains(errs, "RESOURCE_NOT_FOUND") {
		t.Errorf("Get of what is not there: %d %s", code, errs)
	}
	_, errs, _ = run("-d", `{"parent":"orders","filter":"data.nothing == 1"}`, s.GRPC, "watchroute.v1.ResourceService/Watch")
	if !strings.Contains(errs, "InvalidArgument") || !strings.Contains(errs, "INVALID_FILTER") {
		t.Errorf("Watch with a bad filter: %s", errs)
	}

	// A Session from the command line: open, then a fence.
	session := exec.Command(grpcurl, "-plaintext", "-d", `{"open":{"watchId":"a","watch":{"parent":"orders"}}} {"fence":{"fenceId":"f"}}`, s.GRPC, "watchroute.v1.ResourceService/Session")
	session.Env = process.Env()
	x := start(t, session)
	x.line(contains(`"status": "SHIPPED"`))
	x.line(contains(`"fenceId": "f"`))
}

// TestOnePort_ServesEverything: --one-port.
func TestOnePort_ServesEverything(t *testing.T) {
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", "shop", "--one-port"}})
	put(t, s, "orders/42", `{"customerId":"7","status":"PENDING"}`)
	out, errs, code := output(t, exec.Command(goTool(t, ".", "grpcurl"), "-plaintext", "-max-time", "20", "-d", `{"orderId":"42"}`, s.HTTP, "shop.v1.OrderService/GetOrder"))
	if code != 0 || !strings.Contains(out, `"customerId": "7"`) {
		t.Errorf("gRPC on the HTTP port: %d %s %s", code, out, errs)
	}
	watch := curlN(t, s.URL("/v1/orders/watch"))
	watch.line(contains(`"orders/42"`))
}
