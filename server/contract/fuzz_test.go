package contract

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	shopv1 "github.com/watchroute/watchroute/gen/go/shop/v1"
	watchroutev1 "github.com/watchroute/watchroute/gen/go/watchroute/v1"
)

// mutate changes a file as the bytes say, three for one change: what, where, how.
func mutate(file *descriptorpb.FileDescriptorProto, ops []byte) {
	for ; len(ops) >= 3; ops = ops[3:] {
		what, where, how := ops[0], int(ops[1]), int(ops[2])
		messages, services := file.GetMessageType(), file.GetService()
		if len(messages) == 0 || len(services) == 0 || len(services[0].GetMethod()) == 0 {
			return
		}
		m := messages[where%len(messages)]
		other := "." + file.GetPackage() + "." + messages[how%len(messages)].GetName()
		method := services[0].Method[where%len(services[0].GetMethod())]
		var fields []*descriptorpb.FieldDescriptorProto
		for _, m := range messages {
			fields = append(fields, m.GetField()...)
		}
		if len(fields) == 0 {
			return
		}
		fd := fields[(where*7+how)%len(fields)]
		like := fields[how%len(fields)]
		switch what % 14 {
		case 0:
			if n := len(m.GetField()); n > 0 {
				m.Field = append(m.Field[:how%n:how%n], m.Field[how%n+1:]...)
			}
		case 1:
			fd.Number = proto.Int32(int32(how))
		case 2:
			fd.Type, fd.TypeName = like.Type, like.TypeName
		case 3:
			fd.Label = descriptorpb.FieldDescriptorProto_Label(how%3 + 1).Enum()
		case 4:
			fd.Name = like.Name
		case 5:
			fd.JsonName = proto.String("x")
		case 6:
			method.InputType = &other
		case 7:
			method.OutputType = &other
		case 8:
			method.ServerStreaming = proto.Bool(how%2 == 0)
		case 9:
			method.Name = proto.String([]string{"Get", "GetOrder", "ListOrders", "WatchX", "PutItem", "Delete", "Getx"}[how%7])
		case 10:
			method.Options = services[0].Method[how%len(services[0].GetMethod())].Options
		case 11:
			m.Options = messages[how%len(messages)].Options
		case 12:
			fd.OneofIndex = like.OneofIndex
		case 13:
			m.Field = append(m.Field, proto.CloneOf(like))
		}
	}
}

// FuzzContract binds what was made of a contract: ops change its declarations, patch
// the bytes of its descriptor set, three bytes for one of them: where and what.
// Whatever comes out, there is no panic, and what is bound takes any request.
func FuzzContract(f *testing.F) {
	seed, err := proto.Marshal(mine(f).set())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(nil), []byte(nil))
	for what := range byte(14) {
		for where := range byte(12) {
			f.Add([]byte{what, where * 5, where * 11}, []byte{what, where, where})
		}
	}
	order, _ := anypb.New(&shopv1.Order{OrderId: "1"})
	res := &watchroutev1.Resource{Name: "x/1", Revision: 1, Labels: map[string]string{"a": "b"}, CreateTime: timestamppb.Now(), Data: order}
	generic := map[Kind]proto.Message{
		Get: res, List: &watchroutev1.ListResponse{Resources: []*watchroutev1.Resource{res}},
		Put: &watchroutev1.WriteResponse{Resource: res}, Delete: &watchroutev1.WriteResponse{Resource: res},
		Watch: &watchroutev1.WatchResponse{Body: &watchroutev1.WatchResponse_Events{Events: &watchroutev1.EventBatch{
			Events: []*watchroutev1.Event{{Resource: res, UpdatedFields: &fieldmaskpb.FieldMask{Paths: []string{"a"}}}},
		}}},
	}
	f.Fuzz(func(t *testing.T, ops, patch []byte) {
		raw := bytes.Clone(seed)
		for p := patch; len(p) >= 3; p = p[3:] {
			raw[(int(p[0])<<8|int(p[1]))%len(raw)] = p[2]
		}
		set := &descriptorpb.FileDescriptorSet{}
		if len(ops) > 60 || proto.Unmarshal(raw, set) != nil {
			t.Skip()
		}
		if len(set.GetFile()) > 0 {
			mutate(set.File[0], ops)
		}
		bound, err := New(protoregistry.GlobalFiles, set)
		if err != nil {
			return
		}
		for _, m := range bound.Methods {
			in := m.NewInput()
			// Every field that the request may have, with something in it.
			for i := range m.Input.Fields().Len() {
				fd := m.Input.Fields().Get(i)
				if fd.Message() != nil && !fd.IsList() && !fd.IsMap() {
					in.Mutable(fd)
				}
			}
			_, _ = m.Request(in)
			_, _ = m.Response(generic[m.Kind])
			_ = m.Error(m.Error(nil))
			_ = m.field("resource.data")
			_ = m.field("names[0]")
		}
	})
}
