package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/process"
)

// Client is a client of one language.
type Client struct {
	Name string
	// HTTP says that it speaks to the address for HTTP.
	HTTP bool
	// Via are its transports.
	Via []string
	// command gives its driver's; errMissing: something of it is not there.
	command func(root string) ([]string, error)
}

// errMissing says that a driver or its runtime is not there, which is no fault of a client.
var errMissing = errors.New("missing")

// driver gives the command of its driver. The test is skipped where something is missing,
// and fails where the driver does not build.
func (c *Client) driver(t testing.TB) []string {
	t.Helper()
	command, err := c.command(process.Root(t))
	switch {
	case errors.Is(err, errMissing):
		process.Skip(t, "the client %s cannot be driven: %v", c.Name, err)
	case err != nil:
		t.Fatalf("the driver of %s: %v", c.Name, err)
	}
	return command
}

// Clients are those that there are.
var Clients = []*Client{
	{Name: "go", Via: []string{"stream", "session"}, command: goDriver()},
	{Name: "python", Via: []string{"stream", "session"}, command: pythonDriver},
	{Name: "ts", HTTP: true, Via: []string{"grpc-web", "websocket", "sse", "long-poll", "ladder"}, command: tsDriver},
}

// goDriver builds it where the product is built, too: `make clean` removes it.
func goDriver() func(string) ([]string, error) {
	var once sync.Once
	var path string
	var failed error
	return func(root string) ([]string, error) {
		once.Do(func() {
			path = filepath.Join(root, "bin/conformance-driver-go")
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			build := exec.CommandContext(ctx, "go", "build", "-o", path, "./conformance/drivers/go")
			build.Dir = filepath.Join(root, "e2e")
			if out, err := build.CombinedOutput(); err != nil {
				failed = fmt.Errorf("go build ./conformance/drivers/go: %w: %s", err, out)
			}
		})
		return []string{path}, failed
	}
}

func pythonDriver(root string) ([]string, error) {
	driver := filepath.Join(root, "e2e/conformance/drivers/python/driver.py")
	python := filepath.Join(root, "clients/python/.venv/bin/python")
	if _, err := os.Stat(python); err != nil {
		python = "python3"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, python, "-c", "import grpc, google.protobuf").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("there is no grpcio for Python (clients/python/check.sh installs it): %w: %w: %s", errMissing, err, out)
	}
	return []string{python, driver}, nil
}

func tsDriver(root string) ([]string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	driver := filepath.Join(root, "e2e/conformance/drivers/ts/dist/driver.mjs")
	if !exists(driver) {
		return nil, fmt.Errorf("its driver is not built (npm run driver --prefix clients/ts): %w", errMissing)
	}
	return []string{node, driver}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// EachClient runs a scenario with each client, beside each other and beside other tests.
// WATCHROUTE_CONFORMANCE_CLIENTS names some, with commas between.
func EachClient(t *testing.T, scenario func(t *testing.T, c *Client)) {
	t.Helper()
	t.Parallel()
	wanted := os.Getenv("WATCHROUTE_CONFORMANCE_CLIENTS")
	for _, c := range Clients {
		if wanted != "" && !strings.Contains(","+wanted+",", ","+c.Name+",") {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			scenario(t, c)
		})
	}
}

// Start starts its driver, for a node behind an address, as StartDriver does. The test is
// skipped where it cannot run.
func (c *Client) Start(t testing.TB, clock *WallClock, address string, flags ...string) *Driver {
	t.Helper()
	command := c.driver(t)
	if c.HTTP {
		address = "http://" + address
	}
	return StartDriver(t, slices.Concat(command, []string{"--address", address}, flags), clock)
}

// full says whether the long version runs.
func full() bool { return os.Getenv("WATCHROUTE_CONFORMANCE") == "full" }

// longer gives the figure of the usual or of the long version.
func longer[T any](usual, long T) T {
	if full() {
		return long
	}
	return usual
}
