package conformance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyTime = 30 * time.Second
	endTime   = 20 * time.Second
)

// Driver is a process that drives a client. It ends with the test.
type Driver struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out chan struct{} // closed when there are no more reports

	mu      sync.Mutex
	turned  sync.Cond
	reports map[string][]Report // by the id of the watch
	at      map[string][]time.Time
	answers map[int]Report
	ready   bool
	gone    bool
	broken  []string // what is no report
	log     bytes.Buffer
	calls   int
	ended   bool
}

// StartDriver starts a command, under a clock of its own or under that of the machine (nil), and waits until it
// is ready.
func StartDriver(t testing.TB, command []string, clock *WallClock) *Driver {
	t.Helper()
	d := &Driver{t: t, cmd: exec.Command(command[0], command[1:]...), out: make(chan struct{}),
		reports: map[string][]Report{}, at: map[string][]time.Time{}, answers: map[int]Report{}}
	d.turned.L = &d.mu
	var err error
	if d.in, err = d.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stderr = (*driverLog)(d)
	start := d.cmd.Start
	if clock != nil {
		start = func() error { return clock.start(d.cmd) }
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	go d.read(out)
	t.Cleanup(d.End)
	if !d.wait(readyTime, func() bool { return d.ready }) {
		t.Fatalf("the driver did not get ready within %v; it said:\n%s", readyTime, d.Log())
	}
	return d
}

func (d *Driver) read(out io.Reader) {
	defer close(d.out)
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			d.take(line)
		}
		if err != nil {
			d.mu.Lock()
			d.gone = true
			d.turned.Broadcast()
			d.mu.Unlock()
			return
		}
	}
}

func (d *Driver) take(line []byte) {
	var r Report
	err := json.Unmarshal(line, &r)
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.turned.Broadcast()
	switch {
	case err != nil:
		d.broken = append(d.broken, fmt.Sprintf("%v: %.300s", err, line))
	case r.Ready:
		d.ready = true
	case r.Op != "":
		d.answers[r.N] = r
	case r.ID != "":
		d.reports[r.ID] = append(d.reports[r.ID], r)
		d.at[r.ID] = append(d.at[r.ID], time.Now())
	default:
		d.broken = append(d.broken, fmt.Sprintf("%.300s", line))
	}
}

// driverLog takes what a driver writes to its standard error.
type driverLog Driver

// Write implements io.Writer.
func (l *driverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

// wait waits, at most so long, until something is so; it is asked with mu held.
func (d *Driver) wait(limit time.Duration, is func() bool) bool {
	late := false
	timer := time.AfterFunc(limit, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		late = true
		d.turned.Broadcast()
	})
	defer timer.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for !is() {
		if late || d.gone {
			return false
		}
		d.turned.Wait()
	}
	return true
}

// progress waits until something is so, as long as the driver tells events of a watch: at
// most so long between two. A watch that tells the same without an end is given up, too.
func (d *Driver) progress(limit time.Duration, id string, is func() bool) bool {
	told := func() (n int) {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, r := range d.reports[id] {
			if r.Event != nil {
				n++
			}
		}
		return n
	}
	for end := time.Now().Add(6 * limit); ; {
		before := told()
		if d.wait(limit, is) {
			return true
		}
		if told() == before || time.Now().After(end) {
			return false
		}
	}
}

// Send gives it a command.
func (d *Driver) Send(command map[string]any) {
	d.t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := d.in.Write(append(line, '\n')); err != nil {
		d.t.Fatalf("the driver does not listen: %v; it said:\n%s", err, d.Log())
	}
}

// Credential is what its token provider gives from now on.
func (d *Driver) Credential(value string) {
	d.t.Helper()
	d.Send(map[string]any{"op": "credential", "value": value})
}

// Asked is how often its token provider was asked.
func (d *Driver) Asked() int {
	d.t.Helper()
	var answer struct {
		Times int `json:"times"`
	}
	if err := json.Unmarshal(d.Call(map[string]any{"op": "asked"}).Answer, &answer); err != nil {
		d.t.Fatal(err)
	}
	return answer.Times
}

// Call makes a unary call and gives its answer.
func (d *Driver) Call(command map[string]any) Report {
	d.t.Helper()
	answer, ok := d.call(command)
	if !ok {
		d.t.Fatalf("there was no answer to %v; the driver said:\n%s", command, d.Log())
	}
	return answer
}

func (d *Driver) call(command map[string]any) (answer Report, ok bool) {
	d.t.Helper()
	d.mu.Lock()
	d.calls++
	n := d.calls
	d.mu.Unlock()
	command["n"] = n
	d.Send(command)
	ok = d.wait(readyTime, func() bool { _, ok := d.answers[n]; return ok })
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answers[n], ok
}

// Log is what it has written to its standard error.
func (d *Driver) Log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := d.log.String()
	if len(text) > 6000 {
		text = "..." + text[len(text)-6000:]
	}
	return text
}

func (d *Driver) logHas(text string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return bytes.Contains(d.log.Bytes(), []byte(text))
}

// PID is the process.
func (d *Driver) PID() int { return d.cmd.Process.Pid }

// Signal sends a signal to the process.
func (d *Driver) Signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// Kill ends the process by SIGKILL.
func (d *Driver) Kill() {
	d.t.Helper()
	d.Signal(syscall.SIGKILL)
	<-d.out
	_ = d.cmd.Wait() // it says that it was killed
	d.ended = true
	_ = d.in.Close()
}

// End closes its input, upon which it must end by itself. Ending twice is no error.
func (d *Driver) End() {
	if d.ended {
		return
	}
	d.ended = true
	_ = d.in.Close() // it may have gone
	select {
	case <-d.out:
	case <-time.After(endTime):
		_ = d.cmd.Process.Signal(syscall.SIGCONT)
		_ = d.cmd.Process.Signal(syscall.SIGQUIT) // a Go program shows where it stands
		select {
		case <-d.out:
		case <-time.After(2 * time.Second):
			_ = d.cmd.Process.Kill()
			<-d.out
		}
		d.t.Errorf("the driver did not end within %v of its input; it said:\n%s", endTime, d.Log())
	}
	err := d.cmd.Wait()
	if err != nil {
		d.t.Errorf("the driver ended with %v; it said:\n%s", err, d.Log())
	}
	if len(d.broken) > 0 {
		d.t.Errorf("the driver wrote what is no report: %s", strings.Join(d.broken, "\n"))
	}
}
