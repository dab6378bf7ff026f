package examples

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchroute/watchroute/e2e/process"
)

// TestReadme_ShowsCodeThatIsThere: each line of code stands in a source of its example.
func TestReadme_ShowsCodeThatIsThere(t *testing.T) {
	folder := filepath.Join(process.Root(t), "clients", "examples")
	page, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]int{}
	section, sources, code := "", "", false
	for i, line := range strings.Split(string(page), "\n") {
		heading, isHeading := strings.CutPrefix(line, "## ")
		switch {
		case isHeading && !code:
			section, sources = heading, read(t, filepath.Join(folder, heading))
		case strings.HasPrefix(line, "```"):
			code = !code
		case code && strings.TrimSpace(line) != "":
			shown[section]++
			if !strings.Contains(sources, strings.TrimSpace(line)) {
				t.Errorf("README.md:%d: this is not in %s: %s", i+1, section, line)
			}
		}
	}
	for _, example := range []string{"orders", "dashboard", "chat", "flags", "discovery"} {
		if shown[example] < 5 {
			t.Errorf("of %s %d lines are shown", example, shown[example])
		}
	}
}

// read gives the sources below a folder.
func read(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*.ts", "*.tsx", "*.go", "*/*.go"} {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
	}
	return all.String()
}
