package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/watchroute/watchroute/e2e/process"
)

// goTool gives the path of a tool of a module of the project.
func goTool(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", append(append([]string{"tool"}, args[:len(args)-1]...), "-n", args[len(args)-1])...)
	cmd.Dir, cmd.Env = dir, os.Environ()
	out, errs, code := output(t, cmd)
	if code != 0 {
		t.Fatalf("go tool %v: %s", args, errs)
	}
	return strings.TrimSpace(out)
}

// bufBuild builds the descriptor set of a contract in testdata, as its author does,
// who has Watchroute's protos at hand.
func bufBuild(t testing.TB, name string) string {
	t.Helper()
	root, dir := process.Root(t), t.TempDir()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	must(os.CopyFS(filepath.Join(dir, "proto"), os.DirFS(filepath.Join("testdata", name))))
	must(os.CopyFS(filepath.Join(dir, "proto", "watchroute"), os.DirFS(filepath.Join(root, "proto", "watchroute"))))
	must(os.WriteFile(filepath.Join(dir, "buf.yaml"), []byte("version: v2\nmodules:\n  - path: proto\n"), 0o644))
	deps := exec.Command("go", "run", "./proto/deps", filepath.Join(dir, "proto"))
	deps.Dir, deps.Env = root, os.Environ()
	if _, errs, code := output(t, deps); code != 0 {
		t.Fatalf("go run ./proto/deps: %s", errs)
	}
	out := filepath.Join(dir, name+".binpb")
	build := exec.Command(goTool(t, root, "-modfile=proto/tools/go.mod", "buf"), "build", "-o", out)
	build.Dir, build.Env = dir, os.Environ()
	if _, errs, code := output(t, build); code != 0 {
		t.Fatalf("buf build: %s", errs)
	}
	return out
}

// contract is a descriptor set whose messages the test can make.
type contract struct {
	t     testing.TB
	files *protoregistry.Files
}

func readContract(t testing.TB, path string) *contract {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(raw, set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	return &contract{t, files}
}

func (c *contract) message(name protoreflect.FullName, text string) *dynamicpb.Message {
	c.t.Helper()
	d, err := c.files.FindDescriptorByName(name)
	if err != nil {
		c.t.Fatal(err)
	}
	m := dynamicpb.NewMessage(d.(protoreflect.MessageDescriptor))
	if err := (protojson.UnmarshalOptions{}).Unmarshal([]byte(text), m); err != nil {
		c.t.Fatalf("%s: %v", text, err)
	}
	return m
}

func compactJSON(t testing.TB, m proto.Message) string {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(`": `, `":`, `, "`, `,"`).Replace(string(text))
}

// grpcWeb calls a method by gRPC-Web and gives a function that reads the next
// message, false after the last one.
func (c *contract) grpcWeb(ctx context.Context, s *process.Server, method, request string, input, result protoreflect.FullName) func() (string, bool) {
	t := c.t
	t.Helper()
	raw, err := proto.Marshal(c.message(input, request))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL(method), bytes.NewReader(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(raw))), raw...)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/grpc-web+proto")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Grpc-Status") != "" {
		t.Fatalf("gRPC-Web %s: %s %v", method, resp.Status, resp.Header)
	}
	in := bufio.NewReader(resp.Body)
	return func() (string, bool) {
		t.Helper()
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			t.Fatalf("gRPC-Web %s: %v", method, err)
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(in, frame); err != nil {
			t.Fatalf("gRPC-Web %s: %v", method, err)
		}
		if head[0]&0x80 != 0 {
			if !strings.Contains(strings.ToLower(string(frame)), "grpc-status: 0") {
				t.Errorf("gRPC-Web %s ended with %q", method, frame)
			}
			return "", false
		}
		m := c.message(result, "{}")
		if err := proto.Unmarshal(frame, m); err != nil {
			t.Fatal(err)
		}
		return compactJSON(t, m), true
	}
}

// TestContracts_OneLoadedAtRunTimeIsServedEverywhere: typed gRPC, gRPC-Web,
// reflection, JSON, Server-Sent Events, and no line of Go.
func TestContracts_OneLoadedAtRunTimeIsServedEverywhere(t *testing.T) {
	file := bufBuild(t, "fleet")
	s := process.Start(t, process.Options{Variant: process.Race, Args: []string{"--contracts", file}})
	grpcurl := goTool(t, ".", "grpcurl")
	call := func(args ...string) string {
		t.Helper()
		out, errs, code := output(t, exec.Command(grpcurl, append([]string{"-plaintext", "-max-time", "20"}, args...)...))
		if code != 0 {
			t.Fatalf("grpcurl %v: %s", args, errs)
		}
		return out
	}

	// Reflection.
	if out := call(s.GRPC, "list"); !strings.Contains(out, "fleet.v1.FleetService\n") || !strings.Contains(out, "watchroute.v1.ResourceService\n") {
		t.Errorf("grpcurl list: %s", out)
	}
	if out := call(s.GRPC, "list", "fleet.v1.FleetService"); strings.Count(out, "fleet.v1.FleetService.") != 6 {
		t.Errorf("grpcurl list fleet.v1.FleetService: %s", out)
	}
	if out := call(s.GRPC, "describe", "fleet.v1.Vehicle"); !strings.Contains(out, "odometer_by_driver") {
		t.Errorf("grpcurl describe fleet.v1.Vehicle: %s", out)
	}

	// Typed gRPC writes; every other way reads.
	wrote := call("-d", `{"vehicleId":"v1","vehicle":{"plate":"B-WR 1","gear":"PARKED","odometerByDriver":{"ann":"9007199254740993"},"passengers":3}}`, s.GRPC, "fleet.v1.FleetService/PutVehicle")
	if !strings.Contains(wrote, `"changed": true`) || !strings.Contains(wrote, `"vehicles/v1"`) {
		t.Errorf("PutVehicle: %s", wrote)
	}
	if out := call("-d", `{"vehicleId":"v1"}`, s.GRPC, "fleet.v1.FleetService/GetVehicle"); !strings.Contains(out, `"vehicleId": "v1"`) || !strings.Contains(out, `"9007199254740993"`) {
		t.Errorf("GetVehicle: %s", out)
	}
	if out := call("-d", `{"name":"vehicles/v1"}`, s.GRPC, "watchroute.v1.ResourceService/Get"); !strings.Contains(out, `fleet.v1.Vehicle"`) || !strings.Contains(out, `"B-WR 1"`) {
		t.Errorf("Get of the generic service: %s", out)
	}
	if a := curl(t, s.URL("/fleet/v1")); a.status != "200" || !strings.Contains(a.body, `"plate":"B-WR 1"`) {
		t.Errorf("GET /fleet/v1: %+v", a)
	}
	generic := curl(t, s.URL("/v1/vehicles/v1"))
	if generic.status != "200" || !strings.Contains(generic.body, `"type":"fleet.v1.Vehicle"`) || !strings.Contains(generic.body, `"gear":"PARKED"`) || strings.Contains(generic.body, "@type") {
		t.Errorf("GET /v1/vehicles/v1: %+v", generic)
	}

	// Watches: NDJSON and SSE on the contract's own paths, gRPC by reflection,
	// gRPC-Web; and REST writes.
	lines := curlN(t, s.URL("/fleet/v1/live"))
	lines.line(contains(`"snapshotEnd"`))
	events := curlN(t, "-H", "Accept: text/event-stream", s.URL("/fleet-live?filter=data.gear+%3D%3D+Gear.MOVING"))
	events.line(contains("event: snapshot_end"))
	reflected := exec.Command(grpcurl, "-plaintext", "-d", `{"filter":"data.passengers > 3"}`, s.GRPC, "fleet.v1.FleetService/WatchVehicles")
	reflected.Env = process.Env()
	watching := start(t, reflected)
	watching.line(contains(`"snapshotEnd"`))
	c := readContract(t, file)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next := c.grpcWeb(ctx, s, "/fleet.v1.FleetService/WatchVehicle", `{"vehicleId":"v1"}`, "fleet.v1.WatchVehicleRequest", "fleet.v1.WatchVehiclesResponse")
	until := func(part string) string {
		t.Helper()
		for {
			m, ok := next()
			if !ok {
				t.Fatalf("gRPC-Web ended without %s", part)
			}
			if strings.Contains(m, part) {
				return m
			}
		}
	}
	if first := until(`"events"`); !strings.Contains(first, `"plate":"B-WR 1"`) || !strings.Contains(first, `"passengers":3`) {
		t.Errorf("gRPC-Web: %s", first)
	}
	until(`"snapshotEnd"`)

	if a := curl(t, "-X", "PUT", "-d", `{"plate":"B-WR 2","gear":"MOVING","passengers":4,"stops":[{"name":"Zoo","latitude":52.5}]}`, s.URL("/fleet/v1")); a.status != "200" {
		t.Errorf("PUT /fleet/v1: %+v", a)
	}
	if m := until(`"events"`); !strings.Contains(m, `"B-WR 2"`) {
		t.Errorf("gRPC-Web: %s", m)
	}
	lines.line(contains(`"events"`, `"B-WR 2"`))
	events.line(contains("data: ", `"B-WR 2"`, `"ENTERED"`))
	watching.line(contains(`"B-WR 2"`))
	if a := curl(t, "-X", "DELETE", s.URL("/fleet/v1")); a.status != "200" {
		t.Errorf("DELETE /fleet/v1: %+v", a)
	}
	until(`"ABSENT"`)
	lines.line(contains(`"ABSENT"`))
	events.line(contains("data: ", `"ABSENT"`))
	watching.line(contains(`"ABSENT"`))

	// Unary gRPC-Web; and what does not fit is refused with its path.
	once := c.grpcWeb(ctx, s, "/fleet.v1.FleetService/ListVehicles", `{}`, "fleet.v1.ListVehiclesRequest", "fleet.v1.ListVehiclesResponse")
	if m, ok := once(); !ok || !strings.Contains(m, `"revision"`) || strings.Contains(m, "vehicles/v1") {
		t.Errorf("ListVehicles by gRPC-Web: %s", m)
	}
	if a := curl(t, "-X", "PUT", "-d", `{"data":{"stops":[{"latitude":"north"}]}}`, s.URL("/v1/vehicles/v2")); a.status != "400" || !strings.Contains(a.body, "INVALID_VALUE") || !strings.Contains(a.body, "stops") {
		t.Errorf("PUT of what does not fit: %+v", a)
	}
	if a := curl(t, "-X", "PUT", "-d", `{"vehicleId":"other"}`, s.URL("/fleet/v2")); a.status != "400" {
		t.Errorf("PUT of a value with another id: %+v", a)
	}
}

// TestContracts_ABrokenOneIsRefusedAtStart: with file, method and reason.
func TestContracts_ABrokenOneIsRefusedAtStart(t *testing.T) {
	file := bufBuild(t, "broken")
	s := process.Place(t, process.Options{Variant: process.Race, Args: []string{"--contracts", file}})
	err := s.TryStart()
	if err == nil {
		t.Fatal("the server started")
	}
	said := s.Logs()
	for _, part := range []string{"fleet/v1/fleet.proto", "GetVehicle", "revision"} {
		if !strings.Contains(said, part) {
			t.Errorf("the reason does not name %s: %s", part, said)
		}
	}
	t.Logf("it said: %s", strings.TrimSpace(said))

	missing := process.Place(t, process.Options{Variant: process.Race, Args: []string{"--contracts", file + ".missing"}})
	if err := missing.TryStart(); err == nil || !strings.Contains(missing.Logs(), ".missing") {
		t.Errorf("a contract that is not there: %v, %s", err, missing.Logs())
	}
}
