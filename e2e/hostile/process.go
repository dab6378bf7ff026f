package hostile

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Process is a node as Linux sees it.
type Process struct {
	PID   int
	began string // when it began: a PID may come again
}

// Find gives the child of this process that was started with an argument, such as the
// address on which it listens.
func Find(argument string) (Process, error) {
	for _, pid := range children() {
		line, _ := os.ReadFile("/proc/" + pid + "/cmdline") // it may have ended
		for arg := range strings.SplitSeq(string(line), "\x00") {
			if arg == argument {
				n, err := strconv.Atoi(pid)
				return Process{n, began(n)}, err
			}
		}
	}
	return Process{}, fmt.Errorf("hostile: no child was started with %q", argument)
}

// children of this process.
func children() (pids []string) {
	lists, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is right
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		pids = append(pids, strings.Fields(string(text))...)
	}
	return pids
}

// stat gives what Linux tells of a process after its name; nothing where there is none.
func stat(pid string) []string {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // which may hold spaces
}

// began gives the time since the machine started. A process that has ended, and was not
// waited for, has none.
func began(pid int) string {
	fields := stat(strconv.Itoa(pid))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// Others gives the processor time that the machine has given to others than this process
// and its children, among them the host that it runs on. What the kernel does for the
// network is nobody's.
func Others() time.Duration {
	own := ticks(stat("self"), 11, 15) // its own, and that of children that have ended
	for _, pid := range children() {
		own += ticks(stat(pid), 11, 13)
	}
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	all := strings.Fields(line)
	return ticks(all, 1, 4) + ticks(all, 8, 9) - own // user, nice, system; stolen
}

// ticks sums up fields that count hundredths of a second.
func ticks(fields []string, from, to int) (sum time.Duration) {
	if len(fields) < to {
		return 0
	}
	for _, f := range fields[from:to] {
		n, _ := strconv.Atoi(f)
		sum += time.Duration(n) * 10 * time.Millisecond
	}
	return sum
}

// Lives says whether it is still the same process.
func (p Process) Lives() bool { return p.began != "" && began(p.PID) == p.began }

// Memory gives its resident memory in bytes, now and at its peak since ForgetPeak.
func (p Process) Memory() (now, peak int64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(text)) {
		for name, to := range map[string]*int64{"VmRSS:": &now, "VmHWM:": &peak} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				*to = kb << 10
			}
		}
	}
	return now, peak
}

// ForgetPeak lets the peak begin anew.
func (p Process) ForgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID), []byte("5"), 0)
}
