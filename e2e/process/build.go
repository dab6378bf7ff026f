package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Variant is a way to build the binary.
type Variant int

// The variants.
const (
	Plain Variant = iota // as users build it
	Race                 // with the race detector
)

var (
	builtMu sync.Mutex
	built   = map[Variant]string{}
	builds  string // the folder of the binaries
)

// Main runs the tests of a package and removes what was built for them. It is for
// TestMain.
func Main(m *testing.M) {
	// The race detector lets a process that ends wait for a second: minutes of a suite.
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=50") // the name is a good one
	}
	code := m.Run()
	builtMu.Lock()
	if builds != "" {
		_ = os.RemoveAll(builds) // a leftover in the temporary folder harms nobody
	}
	builtMu.Unlock()
	os.Exit(code)
}

// Root gives the folder of the product's module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "buf.yaml")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no folder above this one has a buf.yaml")
		}
	}
}

// Binary gives the path of the binary, which is built once for each test run.
// WATCHROUTE_E2E_BINARY names another one to be tested instead.
func Binary(t testing.TB, v Variant) string {
	t.Helper()
	if path := os.Getenv("WATCHROUTE_E2E_BINARY"); path != "" {
		return path
	}
	builtMu.Lock()
	defer builtMu.Unlock()
	if path := built[v]; path != "" {
		return path
	}
	if builds == "" {
		dir, err := os.MkdirTemp("", "watchroute-e2e-")
		if err != nil {
			t.Fatal(err)
		}
		builds = dir
	}
	began := time.Now()
	path := filepath.Join(builds, fmt.Sprintf("watchroute-%d", v))
	// As `make build` and as `make test-go` do, so that what those compiled is used.
	args, env := []string{"build", "-trimpath", "-o", path}, append(os.Environ(), "CGO_ENABLED=0")
	if v == Race {
		args, env = []string{"build", "-race", "-o", path}, append(os.Environ(), "CGO_ENABLED=1")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/watchroute")...)
	cmd.Dir, cmd.Env = Root(t), env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/watchroute: %v\n%s", err, out)
	}
	t.Logf("built the binary (race detector: %v) in %v", v == Race, time.Since(began).Round(time.Millisecond))
	built[v] = path
	return path
}
