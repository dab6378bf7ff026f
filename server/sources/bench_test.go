package sources_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/schema"
	"github.com/watchroute/watchroute/server/sources"
)

// BenchmarkTake makes events of 1 KB durable, with a log on the disk: an operation is one
// event, of 1,000 names, 500 at a time.
func BenchmarkTake(b *testing.B) {
	for name, mapping := range map[string]*watchroutev1.Mapping{
		"put":     {Collection: "things", Id: "data.key", Action: &watchroutev1.Mapping_Put{Put: "data"}},
		"literal": {Collection: "things", Id: "data.key", Action: &watchroutev1.Mapping_Put{Put: "{'n': data.n, 'pad': data.pad}"}},
		"merge":   {Collection: "things", Id: "data.key", Action: &watchroutev1.Mapping_Merge{Merge: "data"}},
	} {
		b.Run(name, func(b *testing.B) { benchmarkTake(b, mapping, false) })
		if name == "put" {
			b.Run("put by id", func(b *testing.B) { benchmarkTake(b, mapping, true) })
		}
	}
}

func benchmarkTake(b *testing.B, mapping *watchroutev1.Mapping, ids bool) {
	schemas, err := schema.NewRegistry(protoregistry.GlobalFiles)
	if err != nil {
		b.Fatal(err)
	}
	log, err := local.Open(context.Background(), local.Config{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	f := newFeed()
	m, err := sources.New(sources.Config{Log: log, Schemas: schemas, Logger: slog.New(slog.DiscardHandler),
		Sources:    []*watchroutev1.Source{{SourceId: "s", Connector: &watchroutev1.Source_Mqtt{}, Mappings: []*watchroutev1.Mapping{proto.CloneOf(mapping)}}},
		Connectors: map[string]sources.Connector{"mqtt": func(*watchroutev1.Source) (sources.Source, error) { return f, nil }}})
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	pad := strings.Repeat("x", 950)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		var batch []sources.Event
		for ; n < b.N && len(batch) < 500; n++ {
			e := sources.Event{Topic: "t", Partition: "t/0", Position: fmt.Sprint(n), Value: fmt.Appendf(nil, `{"key":"k%d","n":%d,"pad":"%s"}`, n%1000, n, pad)}
			if ids {
				e.Position, e.ID = "", fmt.Sprintf("k%d-%d", n%1000, n)
			}
			batch = append(batch, e)
		}
		f.batches <- batch
		if err := <-f.taken; err != nil {
			b.Fatal(err)
		}
	}
}
