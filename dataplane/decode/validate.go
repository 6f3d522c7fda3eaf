package decode

import (
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"
)

// validate runs the checks that Envoy itself runs on arrival (they are written in its protos): names set, numbers in
// range. It does not look into extensions: the walk validates each as it opens it.
func (d *decoder) validate(at string, m proto.Message) {
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		d.violations(at, v.ValidateAll())
	}
}

// violations flattens the generated code's nested errors into paths.
func (d *decoder) violations(at string, err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ AllErrors() []error }); ok {
		for _, e := range many.AllErrors() {
			d.violations(at, e)
		}
		return
	}
	one, ok := err.(interface {
		Field() string
		Reason() string
		Cause() error
	})
	if !ok {
		d.refuse(at, "%v", err)
		return
	}
	field := protoName(one.Field())
	if at != "" {
		field = at + "." + field
	}
	if one.Cause() != nil {
		d.violations(field, one.Cause())
		return
	}
	d.refuse(field, "%s", one.Reason())
}

// protoName turns the generated code's "FilterChains[0]" into the proto's "filter_chains[0]".
func protoName(field string) string {
	name, index, _ := strings.Cut(field, "[")
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	if index != "" {
		b.WriteString("[" + index)
	}
	return b.String()
}
