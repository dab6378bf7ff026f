package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pglogrepl"

	"github.com/watchroute/watchroute/server/sources"
)

func TestPosition_IsReadAsItWasWritten(t *testing.T) {
	for text, want := range map[string]position{
		"0/16B3748#3@7312934.1":               {commit: 0x16B3748, change: 3, server: server{7312934, 1}},
		"A/B#2-@18446744073709551615.7":       {commit: 0xA0000000B, change: 2, half: true, server: server{1<<64 - 1, 7}},
		"0/10#0@1.1/snapshot":                 {commit: 16, server: server{1, 1}, snapshot: true},
		"FFFFFFFF/FFFFFFFF#0@1.1/snapshot/12": {commit: 1<<64 - 1, server: server{1, 1}, snapshot: true, rows: 12},
	} {
		got, err := parsePosition(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if got.String() != text {
			t.Errorf("%s became %s", text, got)
		}
	}
	for _, text := range []string{
		"", "0/1", "0/1#0", "0/1#0@1", "0/1#-1@1.1", "0/1#01@1.1", "0/1#1@1.1 ", "0/a#1@1.1", "0/1#1@1.1/", "0/1#1@1.1/snap",
		"0/1#1@1.1/snapshot/0", "0/1#1@1.1/snapshot/-1", "0/100000000#1@1.1", "0/1/1#1@1.1", "x/1#1@1.1", "0/1#+1@1.1",
	} {
		if p, err := parsePosition(text); err == nil {
			t.Errorf("%q was read as %+v", text, p)
		}
	}
}

func TestPosition_HasWhatIsNotBehindIt(t *testing.T) {
	at := position{commit: 100, change: 2}
	half := position{commit: 100, change: 2, half: true}
	for _, test := range []struct {
		p         position
		commit    pglogrepl.LSN
		change    int
		all, part bool
	}{
		{at, 99, 9, true, false}, {at, 100, 1, true, false}, {at, 100, 2, true, false}, {at, 100, 3, false, false}, {at, 101, 1, false, false},
		{half, 100, 2, true, false}, {half, 100, 3, false, true}, {half, 100, 4, false, false}, {half, 101, 3, false, false},
		{position{}, 1, 1, false, false},
	} {
		if all, part := test.p.has(test.commit, test.change); all != test.all || part != test.part {
			t.Errorf("%v has (%v, %d): %v, %v", test.p, test.commit, test.change, all, part)
		}
	}
}

func TestPosition_IsOnlyGoodWhereItsLogIs(t *testing.T) {
	history := "1\t0/100\tno recovery target specified\n2\t0/200\tbefore x\n"
	at := func(commit pglogrepl.LSN, change int, timeline uint64) position {
		return position{commit: commit, change: change, server: server{7, timeline}}
	}
	for name, test := range map[string]struct {
		p       position
		on      server
		end     pglogrepl.LSN
		history string
		failure string // part of the permanent error
	}{
		"the same":                     {at(0x50, 1, 1), server{7, 1}, 0x60, "", ""},
		"another cluster":              {at(0x50, 1, 1), server{8, 1}, 0x60, "", "another one"},
		"an older copy":                {at(0x61, 0, 1), server{7, 1}, 0x60, "", "restored to before"},
		"promoted behind it":           {at(0xFF, 3, 1), server{7, 3}, 0x300, history, ""},
		"promoted at its end":          {at(0x100, 0, 1), server{7, 3}, 0x300, history, ""},
		"promoted without it":          {at(0x100, 1, 1), server{7, 3}, 0x300, history, "promoted or restored"},
		"promoted before it":           {at(0x150, 1, 1), server{7, 3}, 0x300, history, "promoted or restored"},
		"promoted twice":               {at(0x150, 1, 2), server{7, 3}, 0x300, history, ""},
		"a timeline that is not there": {at(0x50, 1, 9), server{7, 3}, 0x300, history, "promoted or restored"},
	} {
		err := test.p.on(test.on, test.end, func(uint64) ([]byte, error) { return []byte(test.history), nil })
		if test.failure == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !sources.IsPermanent(err) || !strings.Contains(err.Error(), test.failure) {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := at(0x50, 1, 1).on(server{7, 2}, 0x60, func(uint64) ([]byte, error) { return nil, errors.New("gone") })
	if err == nil || sources.IsPermanent(err) {
		t.Errorf("a history that cannot be read: %v", err)
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("0/16B3748#3@7312934.1")
	f.Add("0/10#0-@1.1/snapshot/12")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parsePosition(text); err == nil && p.String() != text {
			t.Errorf("%q became %q", text, p)
		}
	})
}
