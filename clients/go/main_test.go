package watchroute_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// improbable-eng/grpc-web, of the node that some tests run, imports a package that
	// starts this one in its init.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/desertbit/timer.timerRoutine"))
}
