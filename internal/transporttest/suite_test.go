package transporttest_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/watchroute/watchroute/internal/transporttest"
)

func TestMain(m *testing.M) {
	// Scenarios mostly wait for each other's messages: more of them at a time than
	// there are processors take less time.
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	code := m.Run()
	if code == 0 {
		// improbable-eng/grpc-web begins this one by being linked.
		if err := goleak.Find(goleak.IgnoreTopFunction("github.com/desertbit/timer.timerRoutine")); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

func TestStates(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.States)
}

func TestDeliveries(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.Deliveries)
}

func TestResumes(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.Resumes)
}

func TestShapes(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.Shapes)
}

func TestWrites(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.Writes)
}

func TestErrors(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.Errors)
}

func TestDrains(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.Drains)
}

func TestFairness(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.Fairness)
}

func TestResume_OnEveryOtherTransport(t *testing.T) {
	transporttest.RunPairs(t, transporttest.Transports)
}

func TestResume_TourOfAllTransports(t *testing.T) {
	transporttest.RunTour(t, transporttest.Transports)
}

func TestWatch_FoldEqualsTruthOverAllTransports(t *testing.T) {
	transporttest.RunProperty(t, transporttest.Transports)
}

func TestSessions(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.SessionScenarios)
}

func TestHTTP(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.HTTP)
}

func TestAccess(t *testing.T) {
	for _, scenarios := range [][]transporttest.Scenario{transporttest.Credentials, transporttest.Visibility, transporttest.Limits} {
		transporttest.Run(t, transporttest.Transports, scenarios)
	}
}

func TestAccess_HiddenBytesReachNoSocket(t *testing.T) {
	transporttest.RunHidden(t, transporttest.Transports)
}

func TestOnePort(t *testing.T) {
	transporttest.Run(t, transporttest.Transports, transporttest.OnePort)
}

func TestTLS(t *testing.T) {
	for _, scenarios := range [][]transporttest.Scenario{transporttest.States, transporttest.Deliveries, transporttest.Resumes, transporttest.Shapes,
		transporttest.Writes, transporttest.Errors, transporttest.Drains, transporttest.Fairness, transporttest.SessionScenarios, transporttest.HTTP, transporttest.OnePort,
		transporttest.Visibility, transporttest.Credentials, transporttest.Limits} {
		transporttest.Run(t, transporttest.TLS, scenarios)
	}
}

func TestTLS_ResumesOnEveryOtherTransport(t *testing.T) {
	transporttest.RunTour(t, append([]transporttest.Kit{transporttest.Transports[0], transporttest.Transports[6]}, transporttest.TLS...))
}

func TestTLS_HiddenBytesReachNoSocket(t *testing.T) {
	transporttest.RunHidden(t, transporttest.TLS)
}

func TestTLS_StalledReadersPinNoMemory(t *testing.T) {
	transporttest.RunMemory(t, transporttest.TLS)
}

func TestStalledReadersPinNoMemory(t *testing.T) {
	transporttest.RunMemory(t, transporttest.Transports)
}
