package local_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/watchroute/watchroute/internal/changelog"
	"github.com/watchroute/watchroute/internal/changelog/changelogtest"
	"github.com/watchroute/watchroute/internal/changelog/local"
)

var engine = changelogtest.Engine{
	Open: func(ctx context.Context, o changelogtest.Options) (changelog.Log, error) {
		return openLog(ctx, config(o))
	},
	OpenUnsynced: func(ctx context.Context, o changelogtest.Options) (changelog.Log, error) {
		return openLog(ctx, local.WithoutSync(config(o)))
	},
}

func config(o changelogtest.Options) local.Config {
	return local.Config{
		FS: o.FS, Dir: o.Dir, Retention: o.Retention, Now: o.Now,
		CompactEvery:  -1,
		MemTableBytes: 256 << 10, // so that tables are flushed and compacted
		Logger:        slog.New(slog.DiscardHandler),
	}
}

func openLog(ctx context.Context, c local.Config) (changelog.Log, error) {
	l, err := local.Open(ctx, c)
	if err != nil { // not a nil *Log
		return nil, err
	}
	return l, nil
}

func TestMain(m *testing.M) { changelogtest.Main(m, engine) }

func TestSuite(t *testing.T) { changelogtest.Run(t, engine) }
