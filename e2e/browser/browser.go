package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/process"
)

const answerTime = 60 * time.Second

// Browser is a running Chromium.
type Browser struct {
	t     testing.TB
	stdin io.WriteCloser

	mu      sync.Mutex
	last    int
	answers map[int]chan answer // nil: the bridge has ended
	pages   int
}

type answer struct {
	ID      int             `json:"id"`
	Value   json.RawMessage `json:"value"`
	Error   string          `json:"error"`
	Page    string          `json:"page"`
	Says    string          `json:"says"`
	Version string          `json:"version"`
}

// folder gives the npm folder, or skips the test where it has no packages.
func folder(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(process.Root(t), "e2e", "browser")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "esbuild")); err != nil {
		t.Skip("the npm packages of e2e/browser are not installed; `make npm` does it")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skipf("there is no Node: %v", err)
	}
	return dir
}

// Bundle bundles the page (page.html) and the Node client (node.mjs) and gives the
// folder where they are.
func Bundle(t testing.TB) string {
	t.Helper()
	dir, out := folder(t), t.TempDir()
	if text, err := exec.Command("node", filepath.Join(dir, "bundle.mjs"), out).CombinedOutput(); err != nil {
		t.Fatalf("bundle.mjs: %v\n%s", err, text)
	}
	return out
}

// Start starts Chromium. It skips the test where there is none.
func Start(t testing.TB) *Browser {
	t.Helper()
	dir := folder(t)
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skipf("there is no Chromium; `make prepare` installs Debian's: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "bridge.mjs"), chromium)
	cmd.WaitDelay = 5 * time.Second
	stderr := &tail{}
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, stdin: stdin, answers: map[int]chan answer{}}
	version, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		b.read(stdout, version)
	}()
	t.Cleanup(func() {
		_ = stdin.Close()
		select {
		case <-read:
		case <-time.After(10 * time.Second):
			t.Error("Chromium did not close within 10 s")
			cancel() // the Node process; Chromium follows it
			<-read
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("bridge.mjs: %v\n%s", err, stderr.text())
		}
		cancel()
	})
	select {
	case v := <-version:
		t.Logf("Chromium %s", v)
	case <-read:
		t.Fatalf("Chromium did not start:\n%s", stderr.text())
	case <-time.After(answerTime):
		t.Fatalf("Chromium did not start within %v:\n%s", answerTime, stderr.text())
	}
	return b
}

func (b *Browser) read(stdout io.Reader, version chan<- string) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var a answer
		switch err := json.Unmarshal(line, &a); {
		case err != nil:
			b.t.Errorf("bridge.mjs said %q: %v", line, err)
		case a.Version != "":
			version <- a.Version
		case a.Page != "":
			if !strings.Contains(a.Says, "net::ERR_") { // tests stop servers: that is told a hundred times
				b.t.Logf("page %s: %s", a.Page, a.Says)
			}
		default:
			b.mu.Lock()
			c := b.answers[a.ID]
			delete(b.answers, a.ID)
			b.mu.Unlock()
			if c != nil {
				c <- a
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.answers {
		c <- answer{Error: "bridge.mjs has ended"}
	}
	b.answers = nil
}

func (b *Browser) do(command map[string]any) (json.RawMessage, error) {
	c := make(chan answer, 1)
	b.mu.Lock()
	if b.answers == nil {
		b.mu.Unlock()
		return nil, errors.New("bridge.mjs has ended")
	}
	b.last++
	command["id"] = b.last
	b.answers[b.last] = c
	line, err := json.Marshal(command)
	if err == nil {
		_, err = b.stdin.Write(append(line, '\n'))
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case a := <-c:
		if a.Error != "" {
			return nil, errors.New(a.Error)
		}
		return a.Value, nil
	case <-time.After(answerTime):
		return nil, fmt.Errorf("no answer to %s within %v", command["do"], answerTime)
	}
}

// Page is a tab.
type Page struct {
	b    *Browser
	name string
}

// Open opens a tab at a URL, in a profile of its own.
func (b *Browser) Open(url string) *Page {
	b.t.Helper()
	return b.open(url, "")
}

// Beside opens another tab in the profile of the page.
func (p *Page) Beside(url string) *Page {
	p.b.t.Helper()
	return p.b.open(url, p.name)
}

func (b *Browser) open(url, beside string) *Page {
	b.t.Helper()
	b.mu.Lock()
	b.pages++
	p := &Page{b: b, name: fmt.Sprint(b.pages)}
	b.mu.Unlock()
	status, err := b.do(map[string]any{"do": "open", "page": p.name, "url": url, "beside": beside})
	if err != nil || string(status) != "200" {
		b.t.Fatalf("opening %s: status %s, %v", url, status, err)
	}
	return p
}

// Eval evaluates an expression in the page, waits for it if it is a promise, and
// unmarshals its JSON into out unless that is nil.
func (p *Page) Eval(out any, expression string, args ...any) {
	p.b.t.Helper()
	for i := range args {
		text, err := json.Marshal(args[i])
		if err != nil {
			p.b.t.Fatal(err)
		}
		args[i] = string(text)
	}
	expression = fmt.Sprintf(expression, args...)
	value, err := p.b.do(map[string]any{"do": "eval", "page": p.name, "expression": expression})
	if err == nil && out != nil {
		err = json.Unmarshal(value, out)
	}
	if err != nil {
		p.b.t.Fatalf("evaluating %s: %v", expression, err)
	}
}

// Text gives what a reader of the page sees.
func (p *Page) Text() string {
	p.b.t.Helper()
	value, err := p.b.do(map[string]any{"do": "text", "page": p.name})
	var text string
	if err == nil {
		err = json.Unmarshal(value, &text)
	}
	if err != nil {
		p.b.t.Fatalf("the text of the page: %v", err)
	}
	return text
}

// Offline lets the tab's profile be offline, or online again.
func (p *Page) Offline(offline bool) {
	p.b.t.Helper()
	if _, err := p.b.do(map[string]any{"do": "offline", "page": p.name, "offline": offline}); err != nil {
		p.b.t.Fatalf("offline %v: %v", offline, err)
	}
}

// Close closes the tab.
func (p *Page) Close() {
	p.b.t.Helper()
	if _, err := p.b.do(map[string]any{"do": "close", "page": p.name}); err != nil {
		p.b.t.Errorf("closing a page: %v", err)
	}
}

// tail keeps the last of what a process says.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = append(w.end, p...)
	w.end = w.end[max(0, len(w.end)-16<<10):]
	return len(p), nil
}

func (w *tail) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.end)
}
