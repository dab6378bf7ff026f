package conformance

import (
	"flag"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Most tests sleep until a client finds that nothing comes. Each is a node, too.
	_ = flag.Set("test.parallel", "10") // the flag is there
	process.Main(m)
}
