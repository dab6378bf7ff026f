package pages

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/watchroute/watchroute/internal/disttest"
)

// packages is where the npm packages are that build the pages.
const packages = "../../../gateway/console/node_modules"

func needNode(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(packages); err != nil {
		t.Skip("`make npm` has not run")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("there is no Node")
	}
}

func TestDist_IsWhatTheSourcesBuild(t *testing.T) {
	needNode(t)
	disttest.Check(t, "`node build.mjs` in e2e/shop/pages")
}

func TestSources_HaveTheTypesOfTheContractAndTheClient(t *testing.T) {
	needNode(t)
	if out, err := exec.CommandContext(t.Context(), "node", filepath.Join(packages, "typescript/bin/tsc"), "-p", ".").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
