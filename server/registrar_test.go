package server_test

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/server"
)

// TestService_ACallWhoseRequestDoesNotComeEnds, and one that is more than one request has
// an answer, too: a unary method is a stream to the server.
func TestService_ACallWhoseRequestDoesNotComeEnds(t *testing.T) {
	n := start(t, func(_ *hub.Config, c *server.GRPCConfig) { c.CallTimeout = 200 * time.Millisecond })
	call := func(send int) error {
		stream, err := n.conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, watchroutev1.ResourceService_Get_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		for range send {
			if err := stream.SendMsg(&watchroutev1.GetRequest{Name: "notes/1"}); err != nil {
				t.Fatal(err)
			}
		}
		if send > 0 {
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
		}
		return stream.RecvMsg(new(watchroutev1.Resource))
	}
	if err := call(0); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("no request: %v", err)
	}
	if err := call(2); status.Code(err) != codes.Internal {
		t.Errorf("two requests: %v", err)
	}
	wantError(t, call(1), codes.NotFound, "RESOURCE_NOT_FOUND", "name")
}
