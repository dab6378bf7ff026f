package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watchroute/watchroute/internal/certificate/certificatetest"
	"github.com/watchroute/watchroute/server/config"
)

func TestCommands_OverTLS(t *testing.T) {
	folder := t.TempDir()
	ca, others := certificatetest.New("authority"), certificatetest.New("others")
	write := func(ca *certificatetest.Authority, name string) (cert, key string) {
		cert, key, err := ca.Write(folder, name)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	root := filepath.Join(folder, "ca.pem")
	if err := os.WriteFile(root, ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	sh := shell{t, serve(t, func(c *config.Config) {
		c.TLSCert, c.TLSKey = write(ca, "node")
		c.TLSClientCA = root
	})}
	if out := sh.works("put", "notes/1", `{}`, "--ca", root); out != "notes/1 put, revision 1\n" {
		t.Errorf("put: %q", out)
	}
	cert, key := write(ca, "alice")
	sh.works("get", "notes/1", "--ca", root, "--cert", cert, "--key", key)
	wrong, wrongKey := write(others, "mallory")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"plaintext":                    {nil, "speaks TLS, perhaps"},
		"an authority nobody knows":    {[]string{"--tls"}, "--ca names the authority"},
		"a client of somebody else's":  {[]string{"--ca", root, "--cert", wrong, "--key", wrongKey}, "UNAVAILABLE"}, // TLS 1.3 does not always tell why,
		"a certificate without a key":  {[]string{"--ca", root, "--cert", cert}, "--key"},
		"a file that is not there":     {[]string{"--ca", root + "x"}, root + "x"},
		"a key of another certificate": {[]string{"--ca", root, "--cert", cert, "--key", wrongKey}, "--cert, --key: "},
	} {
		_, errs, code := sh.in("", append([]string{"get", "notes/1", "--timeout", "2s"}, test.args...)...)
		if code == 0 || !strings.HasPrefix(errs, "error: ") || !strings.Contains(errs, test.want) {
			t.Errorf("%s: exit code %d, %s", name, code, errs)
		}
	}
	plain := shell{t, serve(t, nil)}
	if _, errs, _ := plain.in("", "get", "notes/1", "--tls"); !strings.Contains(errs, "does not speak TLS") {
		t.Errorf("TLS with a server of plaintext: %s", errs)
	}
}
