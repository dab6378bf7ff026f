package e2e

import (
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

func TestMain(m *testing.M) { process.Main(m) }
