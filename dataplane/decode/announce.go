package decode

import (
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/sluice-proxy/sluice/xds/features"
)

// Features is the table of this proxy, for others to know before they send something: what it would refuse. What a reader
// finds in values that the table allows is not told.
var Features = sync.OnceValue(func() features.Table {
	out := features.Table{}
	for _, t := range tables {
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(t.message)
		if err != nil {
			continue // it cannot come
		}
		fields := d.(protoreflect.MessageDescriptor).Fields()
		message := features.Message{}
		out[features.Key(t.within, t.message)] = message
		for _, f := range t.fields {
			fd := fields.ByName(f.Name)
			if fd == nil || f.Support == Refused {
				continue
			}
			told := features.Field{Values: f.Values, Skip: f.Support == Harmless}
			for _, e := range f.Extensions {
				told.Types = append(told.Types, e.Type)
			}
			message[fd.Number()] = told
		}
	}
	return out
})
