package examples

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watchroute/watchroute/e2e/process"
)

func TestMain(m *testing.M) { process.Main(m) }

// patience is how long anything may take that is to happen soon.
const patience = 30 * time.Second

// example is a run.sh that goes on.
type example struct {
	*testing.T
	cmd        *exec.Cmd
	binary     string
	http, grpc int
	page       string // its URL

	mu  sync.Mutex
	out bytes.Buffer
}

// Write implements io.Writer.
func (x *example) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.Write(p)
}

func (x *example) text() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.out.String()
}

// run starts an example and waits until it says how it is ended, which is the last that it
// says by itself. The shell that starts it stands for a user's.
func run(t *testing.T, name string) *example {
	t.Helper()
	root, ports := process.Root(t), process.FreePorts(t, 3)
	x := &example{T: t, binary: process.Binary(t, process.Plain), http: ports[0], grpc: ports[1], page: fmt.Sprintf("http://127.0.0.1:%d/", ports[2])}
	script := filepath.Join(root, "clients", "examples", "run.sh")
	x.cmd = exec.Command("bash", "-c", `"$@" & echo "run.sh is process $!"; wait $!`, "bash", script, name,
		"--http", strconv.Itoa(x.http), "--grpc", strconv.Itoa(x.grpc), "--page", strconv.Itoa(ports[2]))
	x.cmd.Env = append(process.Env(), "BINARY="+x.binary, "TMPDIR="+t.TempDir())
	x.cmd.Stdout, x.cmd.Stderr = x, x
	x.cmd.WaitDelay = patience
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if x.cmd.ProcessState == nil {
			x.end()
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, x.text())
		}
	})
	x.says(`Ctrl-C ends it`)
	return x
}

// says waits until the example has said what an expression matches, and gives its first group.
func (x *example) says(expression string) (found string) {
	x.Helper()
	pattern := regexp.MustCompile(`(?m)` + expression)
	x.until("it says "+expression, func() bool {
		match := pattern.FindStringSubmatch(x.text())
		if match != nil {
			found = match[len(match)-1]
		}
		return match != nil
	})
	return found
}

// until waits until something holds.
func (x *example) until(what string, holds func() bool) {
	x.Helper()
	began := time.Now()
	for ; !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > patience {
			x.Fatalf("it does not come to this in %v: %s", patience, what)
		}
	}
	if took := time.Since(began); took > time.Second {
		x.Logf("after %v: %s", took.Round(time.Millisecond), what)
	}
}

// put writes as a user does in another terminal.
func (x *example) put(name, value string) {
	x.Helper()
	cmd := exec.Command(x.binary, "put", "--server", fmt.Sprintf("127.0.0.1:%d", x.grpc), name, value)
	cmd.Env, cmd.Dir = process.Env(), x.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		x.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// pid reads the id of a process that the example has started.
func (x *example) pid(text string) int {
	x.Helper()
	pid, err := strconv.Atoi(text)
	if err != nil {
		x.Fatal(err)
	}
	return pid
}

// killNode kills the node and waits until it is there again.
func (x *example) killNode() {
	x.Helper()
	node := regexp.MustCompile(`the node is process (\d+)`)
	before := node.FindAllStringSubmatch(x.text(), -1)
	x.signal(before[len(before)-1][1], syscall.SIGKILL)
	x.until("the node is started again", func() bool { return len(node.FindAllString(x.text(), -1)) > len(before) })
}

func (x *example) signal(pid string, s syscall.Signal) {
	x.Helper()
	if err := syscall.Kill(x.pid(pid), s); err != nil {
		x.Fatalf("%v for %s: %v", s, pid, err)
	}
}

// end ends the example by a signal to run.sh, and checks that nothing is left.
func (x *example) end() {
	x.Helper()
	ours := x.descendants()
	x.signal(x.says(`run.sh is process (\d+)`), syscall.SIGTERM)
	if err := x.cmd.Wait(); err != nil {
		x.Errorf("run.sh ended with %v", err)
	}
	x.gone(ours)
}

// gone checks that none of some processes is left, within the time of a process that was
// told to end but not waited for.
func (x *example) gone(ours map[int]string) {
	x.Helper()
	if len(ours) < 3 { // run.sh, the node and an example
		x.Errorf("of what it started only this was found: %v", ours)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		left := map[int]string{}
		for pid, began := range ours {
			if _, now := stat(pid); now == began {
				left[pid] = command(pid)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			x.Errorf("these are left: %v", left)
			return
		}
	}
}

// descendants gives the processes that the example has started, and when they began, by
// which one is told from another that got its id.
func (x *example) descendants() map[int]string {
	x.Helper()
	files, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		x.Fatal(err)
	}
	children := map[int][]int{}
	for _, file := range files {
		pid := x.pid(filepath.Base(file))
		parent, _ := stat(pid)
		children[parent] = append(children[parent], pid)
	}
	ours := map[int]string{}
	for next := children[x.cmd.Process.Pid]; len(next) > 0; next = next[1:] {
		if _, began := stat(next[0]); began != "" {
			ours[next[0]] = began
		}
		next = append(next, children[next[0]]...)
	}
	return ours
}

// stat reads a process's parent and when it began; nothing of one that has ended.
func stat(pid int) (parent int, began string) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, ""
	}
	// The name in brackets may hold spaces.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return 0, ""
	}
	parent, _ = strconv.Atoi(fields[1]) // it is a number
	return parent, fields[19]
}

func command(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // empty: it has just ended
	return strings.ReplaceAll(string(text), "\x00", " ")
}

// skipUnless skips a test that needs something else than Go, as `make test` counts it.
func skipUnless(t *testing.T, ok bool, why string) {
	t.Helper()
	if !ok {
		process.Skip(t, "%s", why)
	}
}
