package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sourceYAML = `- source_id: orders
  kafka: {brokers: ["127.0.0.1:9092"], topics: [orders]}
  mappings:
    - collection: orders
      id: data.id
      put: data
`

func TestReadSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sources.yaml")
	if err := os.WriteFile(file, []byte(sourceYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	under := "sources:\n" + strings.ReplaceAll("  "+strings.TrimSuffix(strings.ReplaceAll(sourceYAML, "\n", "\n  "), "  "), "\t", "")
	for name, yaml := range map[string]string{"a file": "sources: " + file, "in the file": under, "at its margin": "sources:\n" + sourceYAML} {
		c, err := run(t, yaml, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		list, err := c.ReadSources()
		if err != nil || len(list) != 1 || list[0].GetSourceId() != "orders" || list[0].GetKafka().GetTopics()[0] != "orders" || list[0].GetMappings()[0].GetPut() != "data" {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	for yaml, want := range map[string]string{
		"sources: no-such-file":                         "no-such-file",
		"sources:\n- source_id: x\n  kafkas: {}\n":      `sources[0]: proto:`,
		"sources:\n- source_id: x\n- source_id: [1, 2]": "sources[1]",
	} {
		c, err := run(t, yaml, nil)
		if err == nil {
			_, err = c.ReadSources()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", yaml, err, want)
		}
	}
}
