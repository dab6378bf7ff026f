package hostile

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Process is a node as Linux sees it.
type Process struct {
	PID   int
	began string // when it began: a PID may come again
}

// Find gives the child of this process that was started with an argument, such as the
// address on which it listens.
func Find(argument string) (Process, error) {
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		return Process{}, err
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread may have ended
		for _, pid := range strings.Fields(string(text)) {
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			for arg := range strings.SplitSeq(string(line), "\x00") {
				if arg == argument {
					n, err := strconv.Atoi(pid)
					return Process{n, began(n)}, err
				}
			}
		}
	}
	return Process{}, fmt.Errorf("hostile: no child was started with %q", argument)
}

// began gives the 20th field after the name: the time since the machine started. A
// process that has ended, and was not waited for, has none.
func began(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
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
