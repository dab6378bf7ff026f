package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchroute/watchroute/server/config"
	"github.com/watchroute/watchroute/server/contract"
)

// fleetContract is what somebody wrote who has read the README only.
const fleetContract = `syntax = "proto3";

package fleet.v1;

import "google/api/annotations.proto";
import "google/protobuf/field_mask.proto";
import "google/rpc/status.proto";
import "watchroute/v1/options.proto";
import "watchroute/v1/resource.proto";
import "watchroute/v1/service.proto";
import "watchroute/v1/watch.proto";

message Vehicle {
  option (watchroute.v1.resource) = {collection: "vehicles" id_field: "vehicle_id"};
  string vehicle_id = 1;
  string plate = 2;
  int32 speed = 3;
}

service VehicleService {
  rpc GetVehicle(GetVehicleRequest) returns (VehicleResource) {
    option (google.api.http) = {get: "/v1/vehicles/{vehicle_id}"};
  }
  rpc ListVehicles(ListVehiclesRequest) returns (ListVehiclesResponse) {
    option (google.api.http) = {get: "/v1/vehicles"};
  }
  rpc WatchVehicles(WatchVehiclesRequest) returns (stream WatchVehiclesResponse) {
    option (google.api.http) = {get: "/v1/vehicles/watch-all"};
  }
  rpc PutVehicle(PutVehicleRequest) returns (PutVehicleResponse) {
    option (google.api.http) = {put: "/v1/vehicles/{vehicle_id}" body: "resource"};
  }
  rpc DeleteVehicle(DeleteVehicleRequest) returns (DeleteVehicleResponse) {
    option (google.api.http) = {delete: "/v1/vehicles/{vehicle_id}"};
  }
}

message VehicleResource {
  string name = 1;
  uint64 revision = 3;
  Vehicle data = 9;
}

message GetVehicleRequest {
  string vehicle_id = 1;
}

message ListVehiclesRequest {
  int32 page_size = 1;
  string page_token = 2;
  string filter = 3;
}

message ListVehiclesResponse {
  repeated VehicleResource resources = 1;
  string next_page_token = 2;
  uint64 revision = 3;
}

message WatchVehiclesRequest {
  string filter = 1;
  google.protobuf.FieldMask read_mask = 2;
  oneof start {
    string resume_token = 3;
    watchroute.v1.Start from = 4;
  }
  watchroute.v1.OnExpired on_expired = 5;
}

message WatchVehiclesResponse {
  uint64 revision = 1;
  string resume_token = 2;
  oneof body {
    watchroute.v1.Started started = 3;
    VehicleEventBatch events = 4;
    watchroute.v1.SnapshotEnd snapshot_end = 5;
    watchroute.v1.Bookmark bookmark = 6;
    watchroute.v1.Reset reset = 7;
    watchroute.v1.Drain drain = 8;
    google.rpc.Status closed = 9;
  }
}

message VehicleEventBatch {
  repeated VehicleEvent events = 1;
}

message VehicleEvent {
  watchroute.v1.State state = 1;
  VehicleResource resource = 3;
}

message PutVehicleRequest {
  string vehicle_id = 1;
  VehicleResource resource = 2;
  watchroute.v1.Precondition precondition = 3;
}

message PutVehicleResponse {
  uint64 revision = 1;
  VehicleResource resource = 2;
}

message DeleteVehicleRequest {
  string vehicle_id = 1;
}

message DeleteVehicleResponse {
  uint64 revision = 1;
}
`

// protos runs the command.
func protos(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	var stdout, stderr screen
	code = run(t.Context(), append([]string{"protos"}, args...), nil, &terminal{strings.NewReader(""), &stdout, &stderr})
	return stdout.String(), stderr.String(), code
}

func TestProtos_AUsersOwnContractBuildsAndIsServed(t *testing.T) {
	if testing.Short() {
		t.Skip("building buf takes a minute")
	}
	tool := exec.Command("go", "tool", "-modfile=proto/tools/go.mod", "-n", "buf")
	tool.Dir = "../.."
	buf, err := tool.Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	out, errs, code := protos(t, "third_party")
	if code != 0 {
		t.Fatal(errs)
	}

	// As the output says, to the letter.
	write(t, "buf.yaml", pasted(out, "version: v2"))
	write(t, "proto/fleet/v1/fleet.proto", fleetContract)
	build := strings.Fields(pasted(out, "buf build"))
	cmd := exec.Command(strings.TrimSpace(string(buf)), build[1:4]...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, text)
	}

	set, err := contract.Load(t.Context(), []string{"shop.binpb"})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GetVehicle", "ListVehicles", "WatchVehicles", "PutVehicle", "DeleteVehicle"} {
		if set.Method("/fleet.v1.VehicleService/"+method) == nil {
			t.Errorf("%s is not bound", method)
		}
	}

	sh := shell{t, serve(t, func(c *config.Config) { c.Contracts = []string{"shop.binpb"} })}
	sh.works("put", "vehicles/7", `{"plate": "ZH 1", "speed": 50}`)
	if out := sh.works("get", "vehicles/7"); !strings.Contains(out, "ZH 1") {
		t.Errorf("get: %q", out)
	}
	if _, errs, code := sh.in("", "put", "vehicles/8", `{"plates": "ZH 2"}`); code != 1 {
		t.Errorf("a field that the contract lacks: exit code %d\n%s", code, errs)
	}
}

func TestProtos_HaveTheirComments(t *testing.T) {
	folder := t.TempDir()
	if _, errs, code := protos(t, folder); code != 0 {
		t.Fatal(errs)
	}
	for _, name := range []string{"errors", "options", "resource", "service", "watch"} {
		want := read(t, filepath.Join("../../proto/watchroute/v1", name+".proto"))
		if got := read(t, filepath.Join(folder, "watchroute/v1", name+".proto")); got != want {
			t.Errorf("%s.proto is not the one of the repository:\n%s", name, got)
		}
	}
}

func TestProtos_OverwriteWhatDiffersOnlyByForce(t *testing.T) {
	folder := t.TempDir()
	changed, gone := filepath.Join(folder, "google/rpc/status.proto"), filepath.Join(folder, "watchroute/v1/watch.proto")
	if _, errs, code := protos(t, folder); code != 0 {
		t.Fatal(errs)
	}
	text := read(t, changed)
	if _, errs, code := protos(t, folder); code != 0 {
		t.Errorf("the same again: %s", errs)
	}

	write(t, changed, "// mine\n")
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	out, errs, code := protos(t, folder)
	if want := "error: nothing written: --force would overwrite " + changed + "\n"; code != 1 || out != "" || errs != want {
		t.Errorf("exit code %d, %q\n%s", code, errs, out)
	}
	if read(t, changed) != "// mine\n" {
		t.Error("overwritten")
	}
	if _, err := os.Stat(gone); err == nil {
		t.Error("something was written")
	}

	if _, errs, code := protos(t, folder, "--force"); code != 0 {
		t.Fatal(errs)
	}
	if read(t, changed) != text {
		t.Error("not overwritten")
	}
	read(t, gone)
}

func TestProtos_SayWhereTheBufYAMLGoes(t *testing.T) {
	parent := t.TempDir()
	work := filepath.Join(parent, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(work)
	for _, test := range []struct{ folder, file, own, module string }{
		{"third_party/protos", "buf.yaml", "proto", "third_party/protos"},
		{"./proto/", "buf.yaml", "contracts", "proto"},
		{"../elsewhere", filepath.Join(parent, "buf.yaml"), "proto", "elsewhere"},
		{".", filepath.Join(parent, "buf.yaml"), "proto", "work"},
	} {
		out, errs, code := protos(t, test.folder)
		if code != 0 {
			t.Fatal(errs)
		}
		for _, want := range []string{" in " + test.file + ":\n", "- path: " + test.own + "\n", `- path: "` + test.module + "\"\n"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in\n%s", test.folder, want, out)
			}
		}
	}
}

// pasted gives the indented lines from the one that begins with a text on.
func pasted(out, first string) string {
	var lines strings.Builder
	for line := range strings.Lines(out[strings.Index(out, "  "+first):]) {
		text, indented := strings.CutPrefix(line, "  ")
		if !indented {
			break
		}
		lines.WriteString(text)
	}
	return lines.String()
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
