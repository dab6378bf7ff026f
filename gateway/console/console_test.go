package console

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/watchroute/watchroute/internal/disttest"
)

func TestDist_IsWhatTheSourcesBuild(t *testing.T) {
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skip("`make npm` has not run")
	}
	disttest.Check(t, "`npm run build` in gateway/console")
}

func TestSources_HaveTheTypesOfTheContract(t *testing.T) {
	if _, err := os.Stat("node_modules"); err != nil {
		t.Skip("`make npm` has not run")
	}
	if out, err := exec.CommandContext(t.Context(), "node", "node_modules/typescript/bin/tsc", "--noEmit").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestHandler_ServesAPageThatLoadsOnlyItsOwnFiles(t *testing.T) {
	h := Handler()
	get := func(path string) *http.Response {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Result()
	}
	for path, contentType := range map[string]string{"/": "text/html", "/console.js": "text/javascript", "/console.css": "text/css", "/icon.svg": "image/svg+xml"} {
		r := get(path)
		if r.StatusCode != http.StatusOK || !strings.HasPrefix(r.Header.Get("Content-Type"), contentType) {
			t.Errorf("%s: %s, %s", path, r.Status, r.Header.Get("Content-Type"))
		}
		if csp := r.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: the policy is %q", path, csp)
		}
	}
	for _, path := range []string{"/nothing", "/src/console.ts", "/../console.go"} {
		if r := get(path); r.StatusCode == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
	page, err := dist.ReadFile("dist/index.html")
	if err != nil {
		t.Fatal(err)
	}
	for _, outside := range []string{"http:", "https:", "//", "style=", "onclick"} {
		if bytes.Contains(page, []byte(outside)) {
			t.Errorf("the page holds %q", outside)
		}
	}
}
