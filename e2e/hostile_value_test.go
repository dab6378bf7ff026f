package e2e

import (
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// jsonText is a value of a collection without a schema.
func jsonText(t testing.TB, text string) *anypb.Any {
	t.Helper()
	a, err := anypb.New(&watchroutev1.Json{Text: text})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
