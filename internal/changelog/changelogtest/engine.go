package changelogtest

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/watchroute/watchroute/internal/changelog"
)

// Engine is what the suite tests.
type Engine struct {
	// Open opens a log that compacts only when it is told to. Whatever is opened
	// with the same FS and Dir after a Close or a crash is the same log.
	Open func(ctx context.Context, o Options) (changelog.Log, error)
	// OpenUnsynced opens one that answers writers before the disk has synced, to
	// prove that the crash tests find that. May be nil.
	OpenUnsynced func(ctx context.Context, o Options) (changelog.Log, error)
}

// Options is what the suite asks of a log.
type Options struct {
	FS        vfs.FS
	Dir       string
	Retention changelog.Retention
	Now       func() time.Time
}

// Main runs the tests of an engine's package, and is also the process that
// TestSuite/Kill ends.
func Main(m *testing.M, e Engine) {
	if dir := os.Getenv(killDir); dir != "" {
		writeUntilKilled(e, dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// Run runs the suite.
func Run(t *testing.T, e Engine) {
	for _, group := range []struct {
		name  string
		tests []scenario
	}{
		{"Write", writeScenarios},
		{"Request", requestScenarios},
		{"All", allScenarios},
		{"Read", readScenarios},
		{"Compact", compactScenarios},
		{"Subscribe", subscribeScenarios},
		{"Life", lifeScenarios},
		{"Together", togetherScenarios},
		{"Model", modelScenarios},
		{"Crash", crashScenarios},
		{"Kill", killScenarios},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			for _, s := range group.tests {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s.run(t, e)
				})
			}
		})
	}
}

type scenario struct {
	name string
	run  func(t *testing.T, e Engine)
}
