package definition

import (
	"fmt"
	"math"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

const (
	wantedDuration = "a duration such as 250ms, 5s or 1h30m"
	wantedSize     = "a size such as 60Ki or 1Mi"
)

// wants are what fields take whose rules do not say it.
var wants = map[protoreflect.FullName]string{
	"sluice.v1.Endpoint.address":                      wantedAddress,
	"sluice.v1.Socket.path":                           wantedSocket,
	"sluice.v1.TestRequest.url":                       wantedURL,
	"sluice.v1.LoadBalancer.panic_threshold":          "whole percents such as 50%",
	"sluice.v1.SlowStart.min_weight_percent":          "whole percents such as 10%",
	"sluice.v1.CertificateFiles.certificate":          "the path of a PEM file",
	"sluice.v1.CertificateFiles.private_key":          "the path of a PEM file",
	"sluice.v1.OutlierDetection.max_ejection_percent": "whole percents such as 50%",
	"sluice.v1.Match.fraction":                        wantedShare,
	"sluice.v1.Mirror.fraction":                       wantedShare,
}

const (
	wantedAddress = "IP:port such as 10.0.0.1:8080 or [::1]:8080, name:port, srv:name, or unix:/path"
	wantedSocket  = "the absolute path of a unix socket, such as /run/web.sock, or @name"
	wantedURL     = "an absolute URL such as https://shop.example.com/cart"
	wantedShare   = "a share such as 10% or 0.5%"
)

// Wanted says what a field takes, for "want …", from its type and its rules.
func Wanted(fd protoreflect.FieldDescriptor) string {
	if fd.IsMap() {
		return "a mapping of key: value"
	}
	rules := Rules(fd)
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return "a mapping with " + fieldList(fd.Message())
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.EnumKind:
		names := []string{}
		for _, v := range enumValues(fd.Enum()) {
			names = append(names, string(v.Name()))
		}
		return "one of " + strings.Join(names, ", ")
	case protoreflect.StringKind:
		if want := wants[fd.FullName()]; want != "" {
			return want
		}
		return wantedText(rules.GetString())
	}
	if double := rules.GetDouble(); fd.Kind() == protoreflect.DoubleKind {
		return fmt.Sprintf("a number from %g to %g", double.GetGte(), double.GetLte())
	}
	low, high := Range(fd)
	if in := rules.GetUint32().GetIn(); len(in) > 0 {
		words := []string{}
		for _, v := range in {
			if v != 0 { // not set
				words = append(words, fmt.Sprint(v))
			}
		}
		return "one of " + strings.Join(words, ", ")
	}
	return fmt.Sprintf("a whole number from %d to %d", low, high)
}

func wantedText(rules *validate.StringRules) string {
	switch {
	case rules == nil:
		return "text"
	case proto.HasExtension(rules, sluicev1.E_Name):
		return "a name: 1 to 63 of a-z, 0-9 and '-'"
	case proto.HasExtension(rules, sluicev1.E_Duration):
		return wantedDuration
	case proto.HasExtension(rules, sluicev1.E_Size):
		return wantedSize
	case proto.HasExtension(rules, sluicev1.E_Host):
		return "a host such as shop.example.com, *.example.com or *"
	case rules.GetPrefix() == "/":
		return "a path that begins with '/'"
	case rules.GetIp():
		return "an IP address"
	case rules.GetHostname():
		return "a host name"
	case len(rules.GetIn()) > 0:
		words := []string{}
		for _, v := range rules.GetIn() {
			if v != "" { // not set
				words = append(words, v)
			}
		}
		return "one of " + strings.Join(words, ", ")
	}
	return "text"
}

// Range is the least and the greatest value of a field that is a number.
func Range(fd protoreflect.FieldDescriptor) (low, high int64) {
	if fd.Kind() == protoreflect.Int32Kind {
		return math.MinInt32, math.MaxInt32
	}
	low, high = 0, math.MaxUint32
	rules := Rules(fd).GetUint32()
	if rules.HasGte() {
		low = int64(rules.GetGte())
	}
	if rules.HasLte() {
		high = int64(rules.GetLte())
	}
	if low == 0 && !fd.HasPresence() && !fd.ContainingMessage().IsMapEntry() {
		low = 1 // 0 would be "not set"
	}
	return low, high
}

// Rules are the rules of a field, of its items if it is a list; never nil. Those of a mapping's values stand at the mapping.
func Rules(fd protoreflect.FieldDescriptor) *validate.FieldRules {
	if entry := fd.ContainingMessage(); entry.IsMapEntry() {
		fields := entry.Parent().(protoreflect.MessageDescriptor).Fields()
		for i := range fields.Len() {
			if owner := fields.Get(i); owner.IsMap() && owner.Message() == entry {
				rules, _ := protovalidate.ResolveFieldRules(owner)
				if values := rules.GetMap().GetValues(); values != nil && fd.Number() == owner.MapValue().Number() {
					return values
				}
			}
		}
		return &validate.FieldRules{}
	}
	rules, err := protovalidate.ResolveFieldRules(fd)
	if err != nil || rules == nil {
		return &validate.FieldRules{}
	}
	if fd.IsList() {
		rules = rules.GetRepeated().GetItems()
	}
	if rules == nil {
		return &validate.FieldRules{}
	}
	return rules
}

// orLeaveOut is what a field takes, or, if it need not be written, that.
func orLeaveOut(fd protoreflect.FieldDescriptor) string {
	want := Wanted(fd)
	if fd.IsList() {
		want = "at least one item"
	}
	rules, err := protovalidate.ResolveFieldRules(fd)
	if err == nil && (rules.GetRequired() || rules.GetRepeated().GetMinItems() > 0) {
		return want
	}
	if oneof := fd.ContainingOneof(); oneof != nil {
		return want
	}
	return want + ": leave the field out for its default"
}
