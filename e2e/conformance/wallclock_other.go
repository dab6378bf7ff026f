//go:build !(linux && amd64)

package conformance

import (
	"os/exec"
	"time"
)

func (c *WallClock) start(*exec.Cmd) error { return errNoClock }

func (c *WallClock) set(time.Duration) error { return errNoClock }
