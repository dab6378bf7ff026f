package pages

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
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
	fresh := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "node", "build.mjs", fresh).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	names := map[string]bool{}
	for _, root := range []fs.FS{os.DirFS(fresh), os.DirFS("dist")} {
		entries, err := fs.ReadDir(root, ".")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names[e.Name()] = true
		}
	}
	for name := range names {
		built, _ := os.ReadFile(filepath.Join(fresh, name))
		committed, _ := os.ReadFile(filepath.Join("dist", name))
		if !bytes.Equal(built, committed) {
			t.Errorf("dist/%s differs from what the sources build; run `node build.mjs` in e2e/shop/pages", name)
		}
	}
}

func TestSources_HaveTheTypesOfTheContractAndTheClient(t *testing.T) {
	needNode(t)
	if out, err := exec.CommandContext(t.Context(), "node", filepath.Join(packages, "typescript/bin/tsc"), "-p", ".").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
