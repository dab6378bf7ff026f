package conformance

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// asking is what takes the place of a function of the vDSO. Behind it, at offsetAt, is the offset in seconds.
var asking = map[string][]byte{
	// int clock_gettime(clockid_t, struct timespec *)
	"__vdso_clock_gettime": {
		0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x83, 0xff, 0, // cmp edi, CLOCK_REALTIME
		0x74, 5, // je +5
		0x83, 0xff, 5, // cmp edi, CLOCK_REALTIME_COARSE
		0x75, 10, // jne +10
		0x48, 0x8b, 0x0d, 8, 0, 0, 0, // mov rcx, [offset]
		0x48, 0x01, 0x0e, // add [rsi], rcx
		0xc3, // ret
	},
	// int gettimeofday(struct timeval *, struct timezone *)
	"__vdso_gettimeofday": {
		0xb8, 96, 0, 0, 0, // mov eax, SYS_gettimeofday
		0x0f, 0x05, // syscall
		0x48, 0x85, 0xff, // test rdi, rdi
		0x74, 10, // je +10
		0x48, 0x8b, 0x0d, 13, 0, 0, 0, // mov rcx, [offset]
		0x48, 0x01, 0x0f, // add [rdi], rcx
		0xc3, // ret
	},
	// time_t time(time_t *)
	"__vdso_time": {
		0xb8, 201, 0, 0, 0, // mov eax, SYS_time
		0x0f, 0x05, // syscall
		0x48, 0x03, 0x05, 18, 0, 0, 0, // add rax, [offset]
		0x48, 0x85, 0xff, // test rdi, rdi
		0x74, 3, // je +3
		0x48, 0x89, 0x07, // mov [rdi], rax
		0xc3, // ret
	},
}

const offsetAt = 32 // of a function; they begin at multiples of 16

// start starts a process under the clock.
func (c *WallClock) start(cmd *exec.Cmd) error {
	// The process waits for its first instruction until the thread that has started it lets it go.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Ptrace = true
	if err := cmd.Start(); err != nil {
		return err
	}
	c.pid, c.offsets, c.ahead = cmd.Process.Pid, nil, 0
	var status syscall.WaitStatus
	_, err := syscall.Wait4(c.pid, &status, syscall.WALL, nil)
	if err == nil && !status.Stopped() {
		return fmt.Errorf("the process did not wait: %#x", status)
	}
	if err == nil {
		err = c.exchange()
	}
	if left := syscall.PtraceDetach(c.pid); err == nil {
		err = left
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	return err
}

// exchange exchanges the functions.
func (c *WallClock) exchange() error {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
	if err != nil {
		return err
	}
	var from, to int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			_, err = fmt.Sscanf(line, "%x-%x", &from, &to)
		}
	}
	if err != nil {
		return err
	}
	if from == 0 {
		return errors.New("the process has no vDSO")
	}
	memory, err := os.OpenFile(c.memory(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	image := make([]byte, to-from)
	if _, err := memory.ReadAt(image, from); err != nil {
		return err
	}
	object, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return err
	}
	symbols, err := object.DynamicSymbols()
	if err != nil {
		return err
	}
	for _, symbol := range symbols {
		code := asking[symbol.Name]
		if code == nil {
			continue
		}
		if symbol.Size < offsetAt+8 {
			return fmt.Errorf("there is no room in %s: it has %d bytes", symbol.Name, symbol.Size)
		}
		at := from + int64(symbol.Value)
		if _, err := memory.WriteAt(append(bytes.Clone(code), make([]byte, offsetAt+8-len(code))...), at); err != nil {
			return err
		}
		c.offsets = append(c.offsets, at+offsetAt)
	}
	if len(c.offsets) != len(asking) {
		return fmt.Errorf("the vDSO has %d of the %d functions that tell the time", len(c.offsets), len(asking))
	}
	return nil
}

func (c *WallClock) set(ahead time.Duration) error {
	memory, err := os.OpenFile(c.memory(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	for _, at := range c.offsets {
		if err := binary.Write(io.NewOffsetWriter(memory, at), binary.LittleEndian, int64(ahead/time.Second)); err != nil {
			return err
		}
	}
	return nil
}

func (c *WallClock) memory() string { return fmt.Sprintf("/proc/%d/mem", c.pid) }
