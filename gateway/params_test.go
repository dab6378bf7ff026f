package gateway

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
	"github.com/watchroute/watchroute/internal/resource"
)

func TestPopulate_ReadsTheFieldsOfAWatch(t *testing.T) {
	for query, want := range map[string]string{
		``:                                     `{}`,
		`filter=data.a==1`:                     `{"filter":"data.a==1"}`,
		`filter=data.a%3D%3D%221%22%26%26true`: `{"filter":"data.a==\"1\"&&true"}`,
		`read_mask=a,b.c`:                      `{"readMask":"a,b.c"}`,
		`readMask=a&readMask=b.c`:              `{"readMask":"a,b.c"}`,
		`resume_token=xyz`:                     `{"resumeToken":"xyz"}`,
		`resumeToken=xyz`:                      `{"resumeToken":"xyz"}`,
		`after_revision=18446744073709551615`:  `{"afterRevision":"18446744073709551615"}`,
		`afterRevision=0`:                      `{"afterRevision":"0"}`,
		`from=NOW`:                             `{"from":"NOW"}`,
		`from=2`:                               `{"from":"NOW"}`,
		`min_revision=7`:                       `{"minRevision":"7"}`,
		`delivery=EVERY_CHANGE`:                `{"delivery":"EVERY_CHANGE"}`,
		`min_interval=500ms`:                   `{"minInterval":"0.500s"}`,
		`min_interval=0.5s`:                    `{"minInterval":"0.500s"}`,
		`minInterval=1m30s`:                    `{"minInterval":"90s"}`,
		`heartbeat=5s`:                         `{"heartbeat":"5s"}`,
		`delta=true`:                           `{"delta":true}`,
		`delta=1&delivery=LATEST`:              `{"delta":true,"delivery":"LATEST"}`,
		`on_expired=FAIL`:                      `{"onExpired":"FAIL"}`,
		`names=orders/1&names=orders/2`:        `{"names":["orders/1","orders/2"]}`,
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		var got, expected watchroutev1.WatchRequest
		if err := protojson.Unmarshal([]byte(want), &expected); err != nil {
			t.Fatal(want, err)
		}
		if err := populate(got.ProtoReflect(), values, nil); err != nil {
			t.Errorf("%s: %v", query, err)
		} else if !proto.Equal(&got, &expected) {
			t.Errorf("%s: got %v, want %v", query, &got, &expected)
		}
	}
}

func TestPopulate_NamesTheParameterThatIsWrong(t *testing.T) {
	taken := map[string]string{"parent": "the path"}
	for query, want := range map[string]struct{ field, message string }{
		`hearbeat=5s`:                         {"hearbeat", `there is no parameter "hearbeat"; the nearest is "heartbeat"`},
		`resumetoken=x`:                       {"resumetoken", `the nearest is "resume_token"`},
		`wiat=3s`:                             {"wiat", `the nearest is "wait"`},
		`parent=orders`:                       {"parent", `parent is given by the path already`},
		`after_revision=-1`:                   {"after_revision", `"-1" is not a whole number`},
		`after_revision=`:                     {"after_revision", `"" is not a whole number`},
		`after_revision=18446744073709551616`: {"after_revision", `is not a whole number in range`},
		`min_interval=5`:                      {"min_interval", `"5" is not a duration, such as 500ms`},
		`min_interval=1s&minInterval=2s`:      {"min_interval", `minInterval and min_interval are the same parameter`},
		`heartbeat=1s&heartbeat=2s`:           {"heartbeat", `heartbeat is given 2 times`},
		`delta=yes`:                           {"delta", `"yes" is not true or false`},
		`delivery=ALL`:                        {"delivery", `"ALL" is not one of LATEST, EVERY_CHANGE`},
		`from=now`:                            {"from", `"now" is not one of SNAPSHOT, NOW`},
		`from=NOW&resume_token=x`:             {"resume_token", `from and resume_token exclude each other`},
		`filter=%ff`:                          {"filter", `is not UTF-8`},
		`filter.x=1`:                          {"filter.x", `there is no parameter`},
		`names[0]=orders/1`:                   {"names[0]", `there is no parameter`},
		`%ff=1`:                               {"\uFFFD", `there is no parameter`},
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		err = populate((&watchroutev1.WatchRequest{}).ProtoReflect(), values, taken, watchExtras...)
		var e *resource.Error
		if !errors.As(err, &e) || e.Reason != resource.InvalidField || e.Metadata["field"] != want.field || !strings.Contains(e.Message, want.message) {
			t.Errorf("%s: got %v, want %v", query, err, want)
		}
	}
}

func TestPopulate_GoesIntoMessages(t *testing.T) {
	var got watchroutev1.PutRequest
	taken := takenBy([]string{"resource.name"}, "resource")
	if err := populate(got.ProtoReflect(), url.Values{"precondition.mustNotExist": {"true"}, "request_id": {"x"}}, taken); err != nil {
		t.Fatal(err)
	}
	want := watchroutev1.PutRequest{RequestId: "x", Precondition: &watchroutev1.Precondition{Condition: &watchroutev1.Precondition_MustNotExist{MustNotExist: true}}}
	if !proto.Equal(&got, &want) {
		t.Errorf("got %v", &got)
	}
	for query, want := range map[string]string{
		"resource.etag=x":  "resource.etag is given by the body already",
		"resource.name=x":  "resource.name is given by the body already",
		"precondition=x":   "precondition cannot be given in a URL",
		"precondition.x=1": `the nearest is "precondition.etag"`,
		"precondition.etag=x&precondition.revision=2": "etag and revision exclude each other",
	} {
		values, _ := url.ParseQuery(query)
		err := populate((&watchroutev1.PutRequest{}).ProtoReflect(), values, taken)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", query, err, want)
		}
	}
}

func FuzzParams(f *testing.F) {
	for _, seed := range []string{"filter=a&from=NOW", "read_mask=a,b&min_interval=3s", "precondition.etag=x", "wait=1s", "x[a]=b", "..=1", "resource.labels=1", "names=a&names=b", "=", "read_mask=%96"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		for _, m := range []proto.Message{&watchroutev1.WatchRequest{}, &watchroutev1.PutRequest{}, &watchroutev1.ListRequest{}} {
			err := populate(m.ProtoReflect(), values, map[string]string{"parent": "the path"}, watchExtras...)
			var e *resource.Error
			switch {
			case err == nil:
				if _, err := proto.Marshal(m); err != nil {
					t.Errorf("%q gave a message that does not encode: %v", query, err)
				}
			case !errors.As(err, &e) || e.Reason != resource.InvalidField || e.Metadata["field"] == "" && !values.Has(""):
				t.Errorf("%q: %v", query, err)
			}
		}
	})
}
