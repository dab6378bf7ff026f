package gateway

import (
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	"github.com/watchroute/watchroute/internal/changelog/local"
	"github.com/watchroute/watchroute/internal/hub"
	"github.com/watchroute/watchroute/server/contract"
)

// parcels is a contract that is known at run time only: the shop's, with other
// names, and with routes that the shop's does not have.
func parcels(t *testing.T) *contract.Set {
	t.Helper()
	text, err := protojson.Marshal(protodesc.ToFileDescriptorProto(shopv1.File_shop_v1_orders_proto))
	if err != nil {
		t.Fatal(err)
	}
	renamed := strings.NewReplacer("shop/v1", "depot/v1", "shop.v1", "depot.v1", "shopv1", "depotv1", "Order", "Parcel", "order", "parcel").Replace(string(text))
	for _, r := range [][2]string{
		{`"put":"/v1/parcels/{parcel_id}"`, `"put":"/depot/parcels/{resource.data.parcel_id}"`},
		{`"get":"/v1/parcels/watch-all"`, `"get":"/v1/parcels:watch", "additionalBindings":[{"get":"/depot/{parent=parcels}/live"}]`},
		{`"delete":"/v1/parcels/{parcel_id}"`, `"post":"/v1/parcels/{parcel_id}:discard","body":"*"`},
	} {
		was := renamed
		renamed = strings.ReplaceAll(strings.ReplaceAll(renamed, `": "`, `":"`), r[0], r[1])
		if renamed == was {
			t.Fatalf("there is no %s", r[0])
		}
	}
	file := &descriptorpb.FileDescriptorProto{}
	if err := protojson.Unmarshal([]byte(renamed), file); err != nil {
		t.Fatal(err)
	}
	for _, m := range file.GetMessageType() {
		if m.GetName() == "WatchParcelsRequest" {
			m.Field = append(m.Field, field("parent", 99, ""))
		}
	}
	// A Put of the value alone, which names itself.
	file.MessageType = append(file.MessageType, &descriptorpb.DescriptorProto{Name: new("AddParcelRequest"), Field: []*descriptorpb.FieldDescriptorProto{
		field("parcel", 1, ".depot.v1.Parcel"), field("parcel_id", 2, ""), field("request_id", 3, "")}})
	options := &descriptorpb.MethodOptions{}
	proto.SetExtension(options, annotations.E_Http, &annotations.HttpRule{
		Pattern: &annotations.HttpRule_Post{Post: "/v1/parcels"}, Body: "parcel",
		AdditionalBindings: []*annotations.HttpRule{
			{Pattern: &annotations.HttpRule_Post{Post: "/v1/parcels:add"}, Body: "*"},
			{Pattern: &annotations.HttpRule_Patch{Patch: "/v1/parcels/{parcel_id}"}, Body: "parcel"},
		}})
	file.Service[0].Method = append(file.Service[0].Method, &descriptorpb.MethodDescriptorProto{Name: new("PutNewParcel"),
		InputType: new(".depot.v1.AddParcelRequest"), OutputType: new(".depot.v1.PutParcelResponse"), Options: options})
	s, err := contract.New(protoregistry.GlobalFiles, &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func field(name string, number int32, message string) *descriptorpb.FieldDescriptorProto {
	f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()}
	if message != "" {
		f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), &message
	}
	return f
}

func TestContract_AValueCanBePutAlone(t *testing.T) {
	set := parcels(t)
	n := newNodeOf(t, local.Config{}, func(c *Config, h *hub.Config) { c.Contracts, h.Schemas = set, set.Schemas })
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/v1/parcels", `{"parcel_id":"1","customerId":"7"}`, 200, `"name":"parcels/1"`},
		{"POST", "/v1/parcels?request_id=a", `{"parcelId":"2","customerId":"7"}`, 200, `"data":{"parcelId":"2","customerId":"7"}`},
		{"POST", "/v1/parcels?parcel_id=3", `{"customerId":"7"}`, 200, `"data":{"parcelId":"3","customerId":"7"}`},
		{"POST", "/v1/parcels:add", `{"requestId":"b","parcel":{"parcelId":"4"}}`, 200, `"name":"parcels/4"`},
		{"POST", "/v1/parcels:add", `{"parcelId":"5","parcel":{}}`, 200, `"name":"parcels/5"`},
		{"PATCH", "/v1/parcels/6", `{"status":"SHIPPED"}`, 200, `"data":{"parcelId":"6","status":"SHIPPED"}`},
		{"POST", "/v1/parcels", `{"customerId":"7"}`, 400, `"INVALID_NAME"`},
		{"POST", "/v1/parcels", `{"parcelId":"a b"}`, 400, `"field":"parcel.parcel_id"`},
		{"POST", "/v1/parcels", `{"parcelId":"1","customr":"7"}`, 400, `"path":"customr"`},
		{"POST", "/v1/parcels", `{"parcelId":"1","customr":"7"}`, 400, `"field":"parcel"`},
		{"POST", "/v1/parcels", `{"parcelId":"1"`, 400, `not JSON at byte`},
		{"POST", "/v1/parcels", ``, 400, `there is nothing`},
		{"POST", "/v1/parcels", `[]`, 400, ``},
		{"POST", "/v1/parcels", `null`, 400, ``},
		{"POST", "/v1/parcels:add", `{"requestid":"b","parcel":{"parcelId":"4"}}`, 400, `requestid`},
		{"POST", "/v1/parcels:add", `{"requestId":"c"}`, 400, `"field":"parcel"`},
		{"POST", "/v1/parcels:add", `{}`, 400, ``},
		{"POST", "/v1/parcels:add?request_id=x", `{"parcel":{"parcelId":"4"}}`, 400, `belongs into the body`},
		{"PATCH", "/v1/parcels/6", `{"parcelId":"7"}`, 400, ``},
	} {
		r := n.do(c.method, c.path, c.body)
		if r.StatusCode != c.status || !strings.Contains(r.body, c.want) {
			t.Errorf("%s %s %s: %s\nwant %d %s", c.method, c.path, c.body, r, c.status, c.want)
		}
		if c.status != 200 {
			r.reason(t)
		}
	}
}

func TestContract_OfRunTime(t *testing.T) {
	set := parcels(t)
	n := newNodeOf(t, local.Config{}, func(c *Config, h *hub.Config) { c.Contracts, h.Schemas = set, set.Schemas })
	for _, step := range []struct{ method, path, body, want string }{
		{"PUT", "/depot/parcels/1", `{"data":{"customerId":"7","status":"SHIPPED"},"labels":{"a":"b"}}`,
			`200 {"revision":"1","resource":{"name":"parcels/1","revision":"1","createRevision":"1","labels":{"a":"b"},"type":"depot.v1.Parcel","data":{"parcelId":"1","customerId":"7","status":"SHIPPED"}},"changed":true}`},
		{"GET", "/v1/parcels/1", ``, `200 {"name":"parcels/1","revision":"1","createRevision":"1","labels":{"a":"b"},"type":"depot.v1.Parcel","data":{"parcelId":"1","customerId":"7","status":"SHIPPED"}}`},
		{"PUT", "/depot/parcels/1", `{"data":{"parcel_id":"2"}}`, `400 `},
		{"PUT", "/depot/parcels/1", `{"data":{"customr":"2"}}`, `400 `},
		{"POST", "/v1/parcels/1:discard", `{"requestId":"x","precondition":{"revision":"7"}}`, `412 `},
		{"POST", "/v1/parcels/1:discard", `{"requestId":"x","precondition":{"rvision":"7"}}`, `400 `},
		{"GET", "/v1/parcels?filter=data.status==ParcelStatus.SHIPPED&page_size=5", ``, `200 {"resources":[{"name":"parcels/1","revision":"1","createRevision":"1","labels":{"a":"b"},"type":"depot.v1.Parcel","data":{"parcelId":"1","customerId":"7","status":"SHIPPED"}}],"revision":"1"}`},
		{"GET", "/v1/parcels:watch?wait=0s&read_mask=status&delivery=EVERY_CHANGE&heartbeat=500ms", ``, `400 `},
		{"GET", "/v1/parcels:watch?wait=0s&read_mask=status&delivery=EVERY_CHANGE", ``, `200 {"responses":[{"started":{"mode":"SNAPSHOT","silenceLimit":"30s"}},{"revision":"1","events":{"events":[{"state":"PRESENT","cause":"ENTERED","resource":{"name":"parcels/1","revision":"1","createRevision":"1","labels":{"a":"b"},"type":"depot.v1.Parcel","data":{"status":"SHIPPED"}}}]}},{"revision":"1","snapshotEnd":{}}]}`},
		{"GET", "/depot/parcels/live?wait=0s&from=NOW", ``, `200 {"responses":[{"revision":"1","started":{"mode":"NOW","silenceLimit":"30s"}},{"revision":"1","bookmark":{}}]}`},
		{"GET", "/depot/orders/live", ``, `404 `},
		{"POST", "/v1/parcels/1:discard", `{"requestId":"y"}`, `200 {"revision":"2","resource":{"name":"parcels/1","revision":"2"},"changed":true}`},
		{"GET", "/v1/parcels/1/watch?wait=0s", ``, `200 {"responses":[{"started":{"mode":"SNAPSHOT","silenceLimit":"30s"}},{"revision":"2","snapshotEnd":{}}]}`},
	} {
		r := n.do(step.method, step.path, step.body)
		got := strings.ReplaceAll(steady(r.Status[:3]+" "+r.body), ",]", "]")
		if !strings.HasPrefix(got, step.want) || strings.HasPrefix(step.want, "200") && got != step.want {
			t.Errorf("%s %s\ngot  %s\nwant %s", step.method, step.path, got, step.want)
		}
	}
	// What is wrong is named as the contract names it.
	for path, field := range map[string]string{"/v1/parcels/a%20b": "parcel_id", "/v1/parcels/9": "parcel_id", "/v1/parcels/a%20b/watch": "parcel_id", "/v1/parcels:watch?filter=1%2B": "filter"} {
		r := n.do("GET", path, "")
		if _, metadata := r.reason(t); metadata["field"] != field {
			t.Errorf("%s: %s, want %s", path, r, field)
		}
	}
}

func TestRegister_MoreSpecificPathsWin(t *testing.T) {
	for _, c := range []struct{ less, more string }{
		{"/v1/{a=**}", "/v1/{a}"},
		{"/v1/{a}", "/v1/x"},
		{"/v1/x/{a}", "/v1/x/y"},
		{"/v1/{a}/y", "/v1/x/{a}"},
		{"/v1/{a=x/*}", "/v1/{a=x/*}:watch"},
		{"/v1/x/{a=*}", "/v1/x/{a}/y"},
	} {
		if specificity(c.less) >= specificity(c.more) {
			t.Errorf("%s is not less specific than %s", c.less, c.more)
		}
	}
}
