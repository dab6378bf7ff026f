package examples

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/watchroute/watchroute/e2e/browser"
	"github.com/watchroute/watchroute/e2e/process"
)

// chromium starts a browser for a page, or skips.
func chromium(t *testing.T) *browser.Browser {
	t.Helper()
	for _, program := range []string{"node", "npm", "chromium"} {
		_, err := exec.LookPath(program)
		skipUnless(t, err == nil, "there is no "+program+"; `make prepare` installs it")
	}
	for _, folder := range []string{"clients/ts", "clients/examples", "e2e/browser"} {
		_, err := os.Stat(filepath.Join(process.Root(t), folder, "node_modules"))
		skipUnless(t, err == nil, "the npm packages of "+folder+" are not installed; `make npm` does it")
	}
	return browser.Start(t)
}

// shows waits until a page shows all of some texts.
func (x *example) shows(p *browser.Page, texts ...string) {
	x.Helper()
	var text string
	x.Cleanup(func() {
		if x.Failed() {
			x.Logf("the page showed:\n%s", text)
		}
	})
	for _, want := range texts {
		x.until("the page shows "+want, func() bool {
			text = p.Text()
			return strings.Contains(text, want)
		})
	}
}

// TestRun_EndsWithWhoStartedIt: a shell that is killed cannot tell it to.
func TestRun_EndsWithWhoStartedIt(t *testing.T) {
	x := run(t, "flags")
	ours := x.descendants()
	if err := x.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = x.cmd.Wait() // it was killed
	x.gone(ours)
}

func TestRun_SaysWhatIsMissing(t *testing.T) {
	script := filepath.Join(process.Root(t), "clients", "examples", "run.sh")
	for _, test := range []struct{ name, binary, want string }{
		{"chat", "/nowhere/watchroute", "`make build`"},
		{"no-such", process.Binary(t, process.Plain), "orders|dashboard|chat|flags|discovery"},
	} {
		cmd := exec.Command(script, test.name)
		cmd.Env = append(process.Env(), "BINARY="+test.binary)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.want) {
			t.Errorf("run.sh %s with %s: %v, %s", test.name, test.binary, err, out)
		}
	}
}

func TestOrders_ShowsACustomersOwn(t *testing.T) {
	b := chromium(t)
	x := run(t, "orders")
	ada, grace := b.Open(x.page+"?customer=ada"), b.Open(x.page+"?customer=grace")
	x.shows(ada, "live", "12 EUR", "48 EUR") // her two
	x.shows(grace, "live", "24 EUR", "60 EUR")
	for _, foreign := range []string{"24 EUR", "36 EUR", "60 EUR", "72 EUR"} {
		if text := ada.Text(); strings.Contains(text, foreign) {
			t.Errorf("ada sees another's order of %s:\n%s", foreign, text)
		}
	}
	x.shows(ada, "Van, Amsterdam") // by and by: a step every two seconds
	x.put("orders/extra", `{"customerId": "ada", "status": "CANCELLED", "total": {"currencyCode": "EUR", "units": "7001"}}`)
	x.shows(ada, "7001 EUR", "CANCELLED")
	x.killNode()
	x.put("orders/extra", `{"customerId": "ada", "status": "CANCELLED", "total": {"currencyCode": "EUR", "units": "7002"}}`)
	x.shows(ada, "7002 EUR", "live")
	if text := grace.Text(); strings.Contains(text, "700") {
		t.Errorf("grace sees ada's order:\n%s", text)
	}
	x.end()
}

func TestDashboard_CountsAllOrders(t *testing.T) {
	b := chromium(t)
	x := run(t, "dashboard")
	page := b.Open(x.page)
	x.shows(page, "LIVE", "orders", "PENDING")
	// The demo's feed has no such ones.
	for i := range 3 {
		x.put(fmt.Sprintf("orders/none-%d", i), `{"customerId": "nobody"}`)
	}
	x.shows(page, "ORDER_STATUS_UNSPECIFIED\t3")
	x.killNode()
	x.put("orders/none-3", `{"customerId": "nobody"}`)
	x.shows(page, "ORDER_STATUS_UNSPECIFIED\t4", "LIVE")
	x.end()
}

func TestChat_IsReadByAllInTheRoom(t *testing.T) {
	b := chromium(t)
	x := run(t, "chat")
	ada, grace, away := b.Open(x.page+"?name=Ada"), b.Open(x.page+"?name=Grace"), b.Open(x.page+"?name=Away&room=attic")
	x.shows(ada, "Ada in lobby", "the room: welcome")
	x.shows(grace, "Grace in lobby", "the room: welcome")
	x.shows(away, "Away in attic")
	send := func(p *browser.Page, text string) {
		p.Eval(nil, `(() => { document.querySelector("input").value = %s; document.querySelector("button").click() })()`, text)
	}
	send(ada, "hello, Grace")
	x.shows(ada, "Ada: hello, Grace")
	x.shows(grace, "Ada: hello, Grace")
	x.killNode()
	send(grace, "hello, Ada")
	x.shows(ada, "Ada: hello, Grace\nGrace: hello, Ada", "Ada in lobby")
	x.shows(grace, "Ada: hello, Grace\nGrace: hello, Ada", "Grace in lobby")
	if text := away.Text(); strings.Contains(text, "hello") {
		t.Errorf("it is heard in another room:\n%s", text)
	}
	x.end()
}

func TestFlags_EachInstanceFollows(t *testing.T) {
	t.Parallel()
	x := run(t, "flags")
	all := func(want string) {
		t.Helper()
		for _, instance := range []string{"one", "two", "three"} {
			x.says("^" + instance + ": " + want + "$")
		}
	}
	all(`dark mode false, greeting "Hello" x 1`)
	x.put("flags/dark-mode", `{"on": true}`)
	all(`dark mode true, greeting "Hello" x 1`)
	x.put("flags/greeting", `{"times": 3}`) // the default of what it does not say
	all(`dark mode true, greeting "Hello" x 3`)
	x.killNode()
	x.put("flags/greeting", `{"text": "Good day"}`)
	all(`dark mode true, greeting "Good day" x 1`)
	x.end()
}

func TestDiscovery_CallsThoseThatAreThere(t *testing.T) {
	t.Parallel()
	x := run(t, "discovery")
	three := `12 calls: \S+ x 4, \S+ x 4, \S+ x 4`
	x.says(three)
	two := x.says(`^two serves at (\S+)`)
	x.signal(x.says(`^instance two is process (\d+)`), syscall.SIGTERM)
	x.says(`^two is gone`)
	x.says(`12 calls: \S+ x 6, \S+ x 6`)
	x.killNode() // what was found stays in use
	calls := regexp.MustCompile(`(?m)^12 calls: .*$`)
	before := len(calls.FindAllString(x.text(), -1))
	x.until("two more rounds of calls", func() bool { return len(calls.FindAllString(x.text(), -1)) > before+2 })
	for _, round := range calls.FindAllString(x.text(), -1)[before:] {
		if strings.Contains(round, two) || strings.Count(round, " x 6") != 2 {
			t.Errorf("after instance two was gone: %s", round)
		}
	}
	x.end()
}

// TestPages_AreOfTheTypesThatTheyClaim: esbuild does not look at types.
func TestPages_AreOfTheTypesThatTheyClaim(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(process.Root(t), "clients", "examples")
	_, err := os.Stat(filepath.Join(folder, "node_modules", "typescript"))
	skipUnless(t, err == nil, "the npm packages of clients/examples are not installed; `make npm` does it")
	_, err = os.Stat(filepath.Join(folder, "..", "ts", "dist", "index.d.ts"))
	skipUnless(t, err == nil, "clients/ts is not built; `make test-clients` does it")
	cmd := exec.Command("npm", "run", "-s", "check")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("npm run check: %v\n%s", err, out)
	}
}
