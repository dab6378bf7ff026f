package brokers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// find gives the path of a program: from PATH, or from the folders in which Debian
// puts what only root runs, or what it has in several versions.
func find(name string, folders ...string) (string, error) {
	path, err := exec.LookPath(name)
	for _, pattern := range folders {
		found, _ := filepath.Glob(filepath.Join(pattern, name)) // its patterns are well formed
		if err != nil && len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return path, err
}

// cached gives a path in the folder into which install.sh puts what Debian lacks:
// WATCHROUTE_BROKERS_CACHE, or watchroute-brokers in the user's cache.
func cached(name string) (string, error) {
	dir := os.Getenv("WATCHROUTE_BROKERS_CACHE")
	if dir == "" {
		caches, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(caches, "watchroute-brokers")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("it is not in the cache: %w", err)
	}
	return path, nil
}

// missing skips a test whose broker is not there.
func missing(t testing.TB, name string, err error) {
	t.Helper()
	process.Skip(t, "there is no %s; `make brokers` installs it: %v", name, err)
}
