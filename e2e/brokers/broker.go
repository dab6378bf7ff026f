package brokers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyTime = time.Minute
	stopTime  = 30 * time.Second
	goneTime  = 10 * time.Second
	// probeTime is how long a broker that accepts a connection may take to answer.
	probeTime = 2 * time.Second
)

// User and Password are what every broker with users of its own knows, but RabbitMQ,
// which has guest.
const (
	User     = "watchroute"
	Password = "s3cret"
)

// Options say how to run a broker.
type Options struct {
	// Dir is the folder for data, configuration and log. Default: a temporary one. A
	// broker that is made anew over the folder of an earlier one has its data, on
	// other ports.
	Dir string
	// Settings are further lines of the broker's own configuration file. They come
	// last, and so win.
	Settings []string
	// Secure adds a listener with TLS and SASL. Kafka only.
	Secure bool
}

// Broker is a place (ports and a folder) where one broker runs, once or again and
// again.
type Broker struct {
	// Addr is the HOST:PORT where clients connect, URL the same as the broker's
	// clients write it.
	Addr, URL string
	// Streams is where RabbitMQ speaks its stream protocol; empty for others.
	Streams string
	// Secured is the listener that Options.Secure asks for; nil without.
	Secured *Secured
	// Dir is the folder for data, configuration and log.
	Dir string

	t         testing.TB
	name      string
	tools     string         // the folder of the broker's own tools; empty: PATH
	env       []string       // for the broker and its tools
	commands  []command      // of one broker, in the order of their start; the last one serves
	interrupt syscall.Signal // asks the last one to end in good order
	probe     func() error   // nil: it serves

	mu      sync.Mutex
	running []*running // as commands; nil: not running
}

// command is one process of a broker.
type command struct {
	path   string
	args   []string
	asUser *syscall.Credential // nil: as the test
}

// running is a process that was started.
type running struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when it has been waited for
	err    error         // how it ended; readable once exited is closed
}

// place makes the folder, and sees to it that what runs there ends with the test.
func place(t testing.TB, name string, o Options) *Broker {
	t.Helper()
	dir := o.Dir
	if dir == "" {
		dir = t.TempDir()
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := &Broker{t: t, name: name, Dir: dir, env: os.Environ(), interrupt: syscall.SIGTERM}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.killLocked()
		if t.Failed() {
			t.Logf("the end of what %s at %s said:\n%s", b.name, b.Addr, b.tail(60))
		}
	})
	return b
}

// Start starts the broker and waits until it serves. It is for a broker that was
// stopped or killed: a constructor has started it already.
func (b *Broker) Start() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running != nil {
		b.t.Fatalf("%s runs already", b.name)
	}
	began := time.Now()
	if err := b.startLocked(); err != nil {
		b.killLocked()
		b.t.Fatalf("%s: %v; it said:\n%s", b.name, err, b.tail(60))
	}
	b.t.Logf("%s serves at %s after %v", b.name, b.Addr, time.Since(began).Round(time.Millisecond))
}

func (b *Broker) startLocked() error {
	for _, c := range b.commands {
		r, err := b.launch(c)
		if err != nil {
			return err
		}
		b.running = append(b.running, r)
	}
	last := b.running[len(b.running)-1]
	for deadline := time.Now().Add(readyTime); ; {
		select {
		case <-last.exited:
			return fmt.Errorf("it ended before it served: %w", last.ended())
		case <-time.After(20 * time.Millisecond):
		}
		err := b.probe()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it did not serve within %v: %w", readyTime, err)
		}
	}
}

// launch starts a process whose output goes to the log.
func (b *Broker) launch(c command) (*running, error) {
	log, err := os.OpenFile(b.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(c.path, c.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = b.Dir, b.env, log, log
	// A group of its own, so that its children can be reached with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.asUser}
	dieWithParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &running{cmd: cmd, exited: make(chan struct{})}
	go func() {
		r.err = cmd.Wait()
		close(r.exited)
	}()
	return r, nil
}

// prepare runs a command that must end well before the broker starts.
func (b *Broker) prepare(c command, stdin string) {
	b.t.Helper()
	cmd := exec.Command(c.path, c.args...)
	cmd.Dir, cmd.Env, cmd.Stdin = b.Dir, b.env, strings.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.asUser}
	dieWithParent(cmd.SysProcAttr)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%s: %s: %v\n%s", b.name, filepath.Base(c.path), err, out)
	}
}

// Stop ends the broker as its operator would, and waits. It returns how long that
// took. A broker that does not run is left alone.
func (b *Broker) Stop() time.Duration {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running == nil {
		return 0
	}
	began := time.Now()
	last := b.running[len(b.running)-1]
	if err := last.cmd.Process.Signal(b.interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		b.t.Errorf("%s: %v: %v", b.name, b.interrupt, err)
	}
	select {
	case <-last.exited:
	case <-time.After(stopTime):
		b.t.Errorf("%s did not end within %v after %v; it said:\n%s", b.name, stopTime, b.interrupt, b.tail(60))
	}
	b.killLocked() // what only helped it
	return time.Since(began)
}

// Kill ends the broker and its children by SIGKILL, and waits until they are gone. A
// broker that does not run is left alone.
func (b *Broker) Kill() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.killLocked()
}

func (b *Broker) killLocked() {
	b.t.Helper()
	for _, r := range slices.Backward(b.running) {
		var children []int
		select {
		case <-r.exited:
		default:
			children = descendants(r.cmd.Process.Pid)
			if err := syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				b.t.Errorf("%s: SIGKILL: %v", b.name, err)
			}
			<-r.exited
		}
		// Some have left the group; they end when they see that their parent has.
		for deadline := time.Now().Add(goneTime); slices.ContainsFunc(children, alive); {
			if time.Now().After(deadline) {
				b.t.Errorf("%s: children are left: %v", b.name, children)
				break
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	b.running = nil
}

// Tool gives a command of the broker's own tools, such as psql or rabbitmqctl, with
// the environment in which it finds this broker. redis-cli and mosquitto_pub know no
// such environment: they need the port as an argument.
func (b *Broker) Tool(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(b.tools, name), args...)
	cmd.Dir, cmd.Env = b.Dir, b.env
	return cmd
}

// Logs gives what the broker has said so far.
func (b *Broker) Logs() string { return b.tail(0) }

func (b *Broker) log() string { return filepath.Join(b.Dir, "broker.log") }

// tail gives the last lines of the log; all of them with 0.
func (b *Broker) tail(lines int) string {
	text, err := os.ReadFile(b.log())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if lines == 0 || lines > len(all) {
		lines = len(all)
	}
	return strings.Join(all[len(all)-lines:], "\n")
}

// write writes a file of the broker's folder and gives its path.
func (b *Broker) write(name string, lines ...string) string {
	b.t.Helper()
	path := filepath.Join(b.Dir, name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// without gives an environment less the variables that begin with one of prefixes.
func without(env []string, prefixes ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(v, p) })
	})
}

func (r *running) ended() error {
	if r.err == nil {
		return errors.New("exit status 0")
	}
	return r.err
}
