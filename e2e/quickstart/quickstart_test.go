package quickstart

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/browser"
	"github.com/watchroute/watchroute/e2e/process"
)

func TestMain(m *testing.M) { process.Main(m) }

const (
	// whole is how long all of it may take, from nothing: ten minutes are promised.
	whole    = 10 * time.Minute
	patience = time.Minute
)

// block is one of the page's.
type block struct {
	name string // of a file, or `terminal 2`; empty: it is typed into the first terminal
	text string
	line int
}

// read gives the blocks of a page of Markdown.
func read(t *testing.T, path string) (blocks []block) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	for i, line := range strings.Split(string(page), "\n") {
		info, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			_, name, _ := strings.Cut(info, " ")
			open = &block{name: name, line: i + 1}
		case fence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return blocks
}

// newcomer sits at some terminals.
type newcomer struct {
	*testing.T
	ctx       context.Context
	folder    string
	env       []string
	terminals map[string]*terminal
}

// terminal is one in which a command goes on.
type terminal struct {
	cmd   *exec.Cmd
	stdin io.Closer
	block block

	mu  sync.Mutex
	out bytes.Buffer
}

// Write implements io.Writer.
func (x *terminal) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.Write(p)
}

func (x *terminal) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.String()
}

func (n *newcomer) bash(text string) *exec.Cmd {
	cmd := exec.CommandContext(n.ctx, "bash", "-euo", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = n.folder, n.env
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// does what a block says.
func (n *newcomer) does(b block) {
	n.Helper()
	began := time.Now()
	switch {
	case b.name == "":
		where := filepath.Join(n.TempDir(), "where")
		if out, err := n.bash(b.text + "\npwd > '" + where + "'").CombinedOutput(); err != nil {
			n.Fatalf("line %d: %v\n%s\n%s", b.line, err, b.text, out)
		}
		folder, err := os.ReadFile(where)
		if err != nil {
			n.Fatal(err)
		}
		n.folder = strings.TrimSpace(string(folder))
	case strings.HasPrefix(b.name, "terminal"):
		n.opens(b)
	default:
		path := filepath.Join(n.folder, b.name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(b.text), 0o600)
		}
		if err != nil {
			n.Fatal(err)
		}
	}
	n.Logf("line %d: %v", b.line, time.Since(began).Round(time.Millisecond))
}

// opens opens a terminal and types a command into it.
func (n *newcomer) opens(b block) {
	n.Helper()
	x := &terminal{cmd: n.bash("exec " + strings.TrimSpace(b.text)), block: b}
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	x.cmd.Stdout, x.cmd.Stderr = x, x
	stdin, err := x.cmd.StdinPipe() // some end when their terminal is closed
	if err == nil {
		x.stdin = stdin
		err = x.cmd.Start()
	}
	if err != nil {
		n.Fatalf("line %d: %v", b.line, err)
	}
	n.terminals[b.name] = x
}

// ends ends what goes on in a terminal, and what that has started.
func (n *newcomer) ends(name string) {
	x := n.terminals[name]
	if x == nil {
		return
	}
	delete(n.terminals, name)
	_ = syscall.Kill(-x.cmd.Process.Pid, syscall.SIGTERM)
	_ = x.stdin.Close()
	_ = x.cmd.Wait()
	if n.Failed() {
		n.Logf("%s: %s\n%s", name, x.block.text, x.text())
	}
}

func (n *newcomer) until(what string, holds func() bool) {
	n.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			n.Fatalf("it does not come to this in %v: %s", patience, what)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-n.ctx.Done():
			n.Fatalf("%v are over: %s", whole, what)
		}
	}
}

func TestQuickstart(t *testing.T) {
	b := browser.Start(t) // or it skips
	root := process.Root(t)
	if out, err := exec.CommandContext(t.Context(), "git", "-C", root, "rev-parse", "HEAD").CombinedOutput(); err != nil {
		t.Skipf("there is no repository to clone: %v %s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), whole)
	defer cancel()
	ports := process.FreePorts(t, 3)
	n := &newcomer{T: t, ctx: ctx, folder: t.TempDir(), terminals: map[string]*terminal{}}
	// What tests are told is nothing that a newcomer has set.
	own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "WATCHROUTE_") })
	n.env = append(own,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url."+root+".insteadOf", "GIT_CONFIG_VALUE_0=https://github.com/watchroute/watchroute",
		fmt.Sprintf("WATCHROUTE_HTTP=127.0.0.1:%d", ports[0]), fmt.Sprintf("WATCHROUTE_GRPC=127.0.0.1:%d", ports[1]), fmt.Sprintf("WATCHROUTE_SERVER=127.0.0.1:%d", ports[1]))
	defer func() {
		for name := range n.terminals {
			n.ends(name)
		}
	}()
	where := strings.NewReplacer("127.0.0.1:8080", fmt.Sprintf("127.0.0.1:%d", ports[0]), "127.0.0.1:8000", fmt.Sprintf("127.0.0.1:%d", ports[2]))
	began := time.Now()
	blocks := read(t, filepath.Join(root, "docs", "quickstart.md"))
	for _, b := range blocks[:len(blocks)-1] {
		b.text = where.Replace(b.text)
		n.does(b)
	}
	for name, says := range map[string]string{"terminal 2": "msg=serving", "terminal 3": "Local:"} {
		n.until(name+" says "+says, func() bool { return strings.Contains(n.terminals[name].text(), says) })
	}
	page := b.Open(fmt.Sprintf("http://127.0.0.1:%d", ports[2]))
	last := blocks[len(blocks)-1]
	last.text = where.Replace(last.text)
	n.does(last)
	n.until("the page shows the changes", func() bool {
		return strings.Contains(page.Text(), "☑ see it move") && strings.Contains(page.Text(), "☐ from curl")
	})
	t.Logf("from nothing to a page that shows live changes: %v", time.Since(began).Round(time.Second))

	again := n.terminals["terminal 2"].block
	n.ends("terminal 2")
	n.opens(again)
	n.until("the server is there again", func() bool { return strings.Contains(n.terminals["terminal 2"].text(), "msg=serving") })
	n.does(block{text: `../watchroute/bin/watchroute put tasks/3 '{"title": "after a restart"}'`})
	n.until("the page goes on where it was", func() bool {
		return strings.Contains(page.Text(), "☑ see it move") && strings.Contains(page.Text(), "☐ after a restart")
	})
}
