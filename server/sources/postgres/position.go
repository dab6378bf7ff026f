package postgres

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pglogrepl"

	"github.com/watchroute/watchroute/server/sources"
)

// position is how far a source has come.
type position struct {
	// commit is the LSN of the commit of the last transaction of which something was taken;
	// with change 0 all before it has been, and nothing of what begins there.
	commit pglogrepl.LSN
	// change is how many changes of it were taken.
	change int
	// half says that of the next change, an update of a key, the delete was taken, too.
	half bool
	// server is where the LSN means something.
	server server
	// snapshot says that tables are not read to their end, of which rows were taken.
	snapshot bool
	rows     int
}

// server is one life of a database cluster.
type server struct {
	system   uint64 // its identifier
	timeline uint64
}

// String gives the position as events have it, such as 0/16B3748#3@7312934.1.
func (p position) String() string {
	b := make([]byte, 0, 64)
	b = append(append(b, p.commit.String()...), '#')
	b = strconv.AppendInt(b, int64(p.change), 10)
	if p.half {
		b = append(b, '-')
	}
	b = append(b, '@')
	b = strconv.AppendUint(b, p.server.system, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, p.server.timeline, 10)
	if p.snapshot {
		b = append(b, "/snapshot"...)
		if p.rows > 0 {
			b = append(b, '/')
			b = strconv.AppendInt(b, int64(p.rows), 10)
		}
	}
	return string(b)
}

// parsePosition reads what String wrote, and nothing else.
func parsePosition(text string) (p position, err error) {
	bad := fmt.Errorf("%q is no position in the log of PostgreSQL", text)
	place, where, ok1 := strings.Cut(text, "@")
	lsn, change, ok2 := strings.Cut(place, "#")
	where, rest, more := strings.Cut(where, "/")
	system, timeline, ok3 := strings.Cut(where, ".")
	if !ok1 || !ok2 || !ok3 {
		return position{}, bad
	}
	var e1, e2, e3, e4, e5 error
	p.commit, e1 = parseLSN(lsn)
	change, p.half = strings.CutSuffix(change, "-")
	p.change, e2 = strconv.Atoi(change)
	p.server.system, e3 = strconv.ParseUint(system, 10, 64)
	p.server.timeline, e4 = strconv.ParseUint(timeline, 10, 32)
	if more {
		name, rows, counted := strings.Cut(rest, "/")
		p.snapshot = name == "snapshot"
		if counted {
			p.rows, e5 = strconv.Atoi(rows)
		}
	}
	if cmp.Or(e1, e2, e3, e4, e5) != nil || p.change < 0 || p.rows < 0 || p.String() != text {
		return position{}, bad
	}
	return p, nil
}

// parseLSN is pglogrepl's, but that nothing may follow.
func parseLSN(text string) (pglogrepl.LSN, error) {
	high, low, _ := strings.Cut(text, "/")
	h, errHigh := strconv.ParseUint(high, 16, 32)
	l, errLow := strconv.ParseUint(low, 16, 32)
	return pglogrepl.LSN(h<<32 | l), cmp.Or(errHigh, errLow)
}

// has says whether a change of a transaction was taken: all of it, or the first half.
func (p position) has(commit pglogrepl.LSN, change int) (all, half bool) {
	if commit != p.commit {
		return commit < p.commit, false
	}
	return change <= p.change, change == p.change+1 && p.half
}

// on says whether the position means something on a server whose log ends at an LSN; the
// error, which is permanent, says why not. history gives the content of a timeline's
// history file.
func (p position) on(s server, end pglogrepl.LSN, history func(timeline uint64) ([]byte, error)) error {
	const anew = "; to read the tables anew, drop the slot, and write the source under another id"
	if p.server.system != s.system {
		return sources.Permanent(fmt.Errorf("the server is another one: its system identifier is %d, and the position is of %d%s", s.system, p.server.system, anew))
	}
	if p.server.timeline != s.timeline {
		content, err := history(s.timeline)
		if err != nil {
			return fmt.Errorf("the history of timeline %d: %w", s.timeline, err)
		}
		left, ok := leaves(content, p.server.timeline)
		if !ok || p.commit > left || p.commit == left && p.change > 0 {
			return sources.Permanent(fmt.Errorf("the server was promoted or restored without what the source has taken already: it is on timeline %d, to which the position %s does not belong%s", s.timeline, p, anew))
		}
	}
	if p.commit > end {
		return sources.Permanent(fmt.Errorf("the server was restored to before what the source has taken already: its log ends at %s, and the position is %s%s", end, p, anew))
	}
	return nil
}

// leaves finds in a history file where the server left a timeline.
func leaves(history []byte, timeline uint64) (pglogrepl.LSN, bool) {
	lines := bufio.NewScanner(bytes.NewReader(history))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != strconv.FormatUint(timeline, 10) {
			continue
		}
		at, err := parseLSN(fields[1])
		return at, err == nil
	}
	return 0, false
}
