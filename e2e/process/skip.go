package process

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// skipped names the environment variable that names a file which gets a line for each
// test that is skipped: `make test` counts them.
const skipped = "WATCHROUTE_SKIPPED"

// Skip skips a test that lacks something of its surroundings, and lets that be counted.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	if name := os.Getenv(skipped); name != "" {
		f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = fmt.Fprintf(f, "SKIP %s: %s\n", t.Name(), strings.ReplaceAll(why, "\n", " "))
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Errorf("a skip cannot be told: %v", err)
		}
	}
	t.Skip("SKIP: " + why)
}
