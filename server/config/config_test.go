package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// run parses a command line with one command that has the settings, in a folder
// with a watchroute.yaml.
func run(t *testing.T, yaml string, environ []string, args ...string) (Config, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if yaml != "" {
		if err := os.WriteFile(DefaultFile, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	var cli struct {
		Serve struct {
			Config `embed:""`
			File   string `name:"config" env:"WATCHROUTE_CONFIG"`
		} `cmd:""`
	}
	k, err := kong.New(&cli, Sources(environ))
	if err != nil {
		return Config{}, err
	}
	_, err = k.Parse(append([]string{"serve"}, args...))
	return cli.Serve.Config, err
}

func TestSources_FlagsWinOverEnvironmentOverFileOverDefaults(t *testing.T) {
	yaml := "retention-age: 2h\nheartbeat: 20s\nmemory_limit: 1MiB\none-port: true\ncontracts:\n  - a.binpb\n  - b.binpb\nauto_create: false\nmax-value-bytes: 2048\n"
	c, err := run(t, yaml, []string{"WATCHROUTE_HEARTBEAT=30s", "WATCHROUTE_MEMORY_LIMIT=2MiB"}, "--memory-limit", "3MiB")
	if err != nil {
		t.Fatal(err)
	}
	no := false
	want := Default()
	want.RetentionAge, want.Heartbeat, want.MemoryLimit = 2*time.Hour, 30*time.Second, 3<<20
	want.OnePort, want.AutoCreate, want.MaxValueBytes = true, &no, 2048
	want.Contracts = []string{"a.binpb", "b.binpb"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
}

func TestSources_ReadsTheNamedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(path, []byte("heartbeat: 40s # c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ environ, args []string }{{nil, []string{"--config", path}}, {[]string{"WATCHROUTE_CONFIG=" + path}, nil}} {
		got, err := run(t, "heartbeat: 20s", c.environ, c.args...)
		if err != nil || got.Heartbeat != 40*time.Second {
			t.Errorf("%v: got %v, %v", c, got.Heartbeat, err)
		}
	}
	if _, err := run(t, "", nil, "--config", path+"x"); err == nil {
		t.Error("a named file that is not there is no error")
	}
}

func TestSources_RefuseWhatMeansNothing(t *testing.T) {
	for name, c := range map[string]struct {
		yaml    string
		environ []string
		args    []string
		want    []string
	}{
		"key":         {yaml: "http: :1\n# c\nretention_aeg: 2h\n", want: []string{"watchroute.yaml:3", `"retention_aeg"`, `"retention-age"`}},
		"two keys":    {yaml: "htp: :1\ngrcp: :2\n", want: []string{"yaml:1", `"http"`, "yaml:2", `"grpc"`}},
		"twice":       {yaml: "memory-limit: 1MiB\nmemory_limit: 2MiB\n", want: []string{"yaml:2", "line 1"}},
		"value":       {yaml: "\nretention-age: soon\n", want: []string{"watchroute.yaml:2", "retention-age", "soon"}},
		"size":        {yaml: "memory-limit: 5 miles\n", want: []string{"yaml:1", "memory-limit", "5 miles"}},
		"nested":      {yaml: "http:\n  port: 1\n", want: []string{"yaml:1", "http"}},
		"list":        {yaml: "- http\n", want: []string{"yaml:1", "mapping"}},
		"no yaml":     {yaml: "http: [\n", want: []string{"watchroute.yaml"}},
		"environment": {environ: []string{"WATCHROUTE_RETENTON_AGE=2h"}, want: []string{"WATCHROUTE_RETENTON_AGE", "WATCHROUTE_RETENTION_AGE"}},
		"flag":        {args: []string{"--retention-agee=1h"}, want: []string{"--retention-agee", "--retention-age"}},
		"level":       {yaml: "log-level: loud", want: []string{"log-level", "loud"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := run(t, c.yaml, c.environ, c.args...)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

func TestSources_IgnoreWhatKubernetesSetsForAServiceOfThisName(t *testing.T) {
	_, err := run(t, "", []string{
		"WATCHROUTE_SERVICE_HOST=10.0.0.1", "WATCHROUTE_SERVICE_PORT=8080", "WATCHROUTE_SERVICE_PORT_GRPC=9090",
		"WATCHROUTE_PORT=tcp://10.0.0.1:8080", "WATCHROUTE_PORT_8080_TCP=tcp://10.0.0.1:8080", "WATCHROUTE_PORT_8080_TCP_ADDR=10.0.0.1",
		"WATCHROUTE_EDGE_SERVICE_HOST=10.0.0.2",
	})
	if err != nil {
		t.Error(err)
	}
	if _, err = run(t, "", []string{"WATCHROUTE_PORT=8080"}); err == nil {
		t.Error("a port of one's own is ignored")
	}
}

func TestConfig_EveryFieldHasOneNameInEverySource(t *testing.T) {
	fields := reflect.TypeFor[Config]()
	for i := range fields.NumField() {
		f := fields.Field(i)
		name := f.Tag.Get("name")
		if want := Prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_")); f.Tag.Get("env") != want {
			t.Errorf("%s: the environment variable is %s, expected %s", f.Name, f.Tag.Get("env"), want)
		}
		if name == "" || f.Tag.Get("help") == "" {
			t.Errorf("%s has no name or no help", f.Name)
		}
	}
}

func TestValidate(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Config)
		want   string // empty: valid
	}{
		"everywhere":          {func(c *Config) { c.HTTP = ":8080" }, "--insecure"},
		"IPv6 everywhere":     {func(c *Config) { c.GRPC = "[::]:9090" }, "grpc:"},
		"a name":              {func(c *Config) { c.HTTP = "example.com:80" }, "--insecure"},
		"insecure":            {func(c *Config) { c.HTTP, c.Insecure = ":8080", true }, ""},
		"IPv6 loopback":       {func(c *Config) { c.HTTP = "[::1]:8080" }, ""},
		"localhost":           {func(c *Config) { c.HTTP = "localhost:0" }, ""},
		"one port, no gRPC":   {func(c *Config) { c.GRPC, c.OnePort = "nonsense", true }, ""},
		"no port":             {func(c *Config) { c.HTTP = "127.0.0.1" }, "HOST:PORT"},
		"a large port":        {func(c *Config) { c.HTTP = "127.0.0.1:70000" }, "65535"},
		"no age":              {func(c *Config) { c.RetentionAge = 0 }, "retention-age"},
		"ages":                {func(c *Config) { c.RetentionMinAge = 2 * time.Hour }, "retention-min-age"},
		"tombstones":          {func(c *Config) { c.RetentionTombstones = time.Minute }, "retention-tombstones"},
		"commit delay":        {func(c *Config) { c.CommitDelay = 2 * time.Second }, "commit-delay"},
		"heartbeat":           {func(c *Config) { c.Heartbeat = time.Millisecond }, "heartbeat"},
		"sizes":               {func(c *Config) { c.MaxRequestBytes = 10 }, "max-request-bytes"},
		"origin":              {func(c *Config) { c.AllowedOrigins = []string{"shop.example"} }, "https://shop.example"},
		"origin with path":    {func(c *Config) { c.AllowedOrigins = []string{"https://shop.example/"} }, "origin"},
		"origin with port":    {func(c *Config) { c.AllowedOrigins = []string{"http://localhost:5173", "https://*.shop.example", "*"} }, ""},
		"TLS":                 {func(c *Config) { c.TLSCert, c.TLSKey, c.TLSClientCA = "cert.pem", "key.pem", "ca.pem" }, ""},
		"no key":              {func(c *Config) { c.TLSCert = "cert.pem" }, "tls-key: "},
		"no certificate":      {func(c *Config) { c.TLSKey = "key.pem" }, "tls-cert: "},
		"clients without TLS": {func(c *Config) { c.TLSClientCA = "ca.pem" }, "tls-client-ca: "},
		"TLS for everybody":   {func(c *Config) { c.TLSCert, c.TLSKey, c.HTTP = "cert.pem", "key.pem", ":8443" }, "--insecure"},
		"ACME": {func(c *Config) {
			c.ACMEDomains, c.ACMEEmail, c.ACMEDirectory = []string{"node.example.com"}, "ops@example.com", "https://acme.example/directory"
		}, ""},
		"ACME and files":      {func(c *Config) { c.ACMEDomains, c.TLSCert, c.TLSKey = []string{"a.example"}, "cert.pem", "key.pem" }, "acme-domains: "},
		"ACME of no domain":   {func(c *Config) { c.ACMEDirectory = "https://acme.example" }, "acme-directory: "},
		"a wildcard":          {func(c *Config) { c.ACMEDomains = []string{"*.example.com"} }, "acme-domains: "},
		"a short name":        {func(c *Config) { c.ACMEDomains = []string{"localhost"} }, "acme-domains: "},
		"an address":          {func(c *Config) { c.ACMEDomains = []string{"10.0.0.1"} }, "acme-domains: "},
		"a plain directory":   {func(c *Config) { c.ACMEDomains, c.ACMEDirectory = []string{"a.example"}, "http://acme.example" }, "acme-directory: "},
		"an unknown log form": {func(c *Config) { c.LogFormat = "xml" }, "log-format"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			test.change(&c)
			err := c.Validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, expected %q", err, test.want)
			}
		})
	}
}

func TestAutoCreates_OnLoopbackUnlessSaidOtherwise(t *testing.T) {
	c := Default()
	if !c.AutoCreates() {
		t.Error("not on loopback")
	}
	c.GRPC = "0.0.0.0:9090"
	if c.AutoCreates() {
		t.Error("for other machines")
	}
	c.OnePort = true
	if !c.AutoCreates() {
		t.Error("an address that is not used counts")
	}
	no := false
	c.AutoCreate = &no
	if c.AutoCreates() {
		t.Error("although refused")
	}
}

func TestSources_AutoCreateHasThreeStates(t *testing.T) {
	for flag, want := range map[string]string{"": "nil", "--auto-create": "true", "--no-auto-create": "false"} {
		var args []string
		if flag != "" {
			args = append(args, flag)
		}
		c, err := run(t, "", nil, args...)
		if err != nil {
			t.Fatal(err)
		}
		got := "nil"
		if c.AutoCreate != nil {
			got = map[bool]string{true: "true", false: "false"}[*c.AutoCreate]
		}
		if got != want {
			t.Errorf("%q: %s", flag, got)
		}
	}
}

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1": 1, "64MiB": 64 << 20, "1 GB": 1e9, "3KiB": 3072, "12B": 12, "1TiB": 1 << 40} {
		var b Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%q: %d, %v", text, b, err)
		}
		var again Bytes
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%q does not come back: %v, %v", b.String(), again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5GiB", "9999999TiB", "1 mile", "1M"} {
		var b Bytes
		if b.UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is taken for %d", text, b)
		}
	}
}

func TestOperations_DocumentsEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := reflect.TypeFor[Config]()
	for i := range fields.NumField() {
		tag := fields.Field(i).Tag
		row := "| `" + tag.Get("name") + "` | `" + tag.Get("env") + "` | "
		if def := tag.Get("default"); def != "" {
			row += "`" + def + "` |"
		}
		if !strings.Contains(string(text), row) {
			t.Errorf("docs/operations.md has no row that begins %s", row)
		}
	}
}
