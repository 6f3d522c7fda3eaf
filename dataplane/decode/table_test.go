package decode

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// The table speaks of what Envoy's protos have, and of all that the walk can reach.
func TestTable(t *testing.T) {
	for _, rules := range tables {
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(rules.message)
		if err != nil {
			t.Errorf("%s: %v", rules.message, err)
			continue
		}
		fields := found.(protoreflect.MessageDescriptor).Fields()
		seen := map[protoreflect.Name]bool{}
		for _, rule := range rules.fields {
			f := fields.ByName(rule.Name)
			if f == nil {
				t.Errorf("%s: has no field %s", rules.message, rule.Name)
				continue
			}
			if seen[rule.Name] {
				t.Errorf("%s.%s: stands twice", rules.message, rule.Name)
			}
			seen[rule.Name] = true
			checkRule(t, rules, rule, f)
		}
	}
}

func checkRule(t *testing.T, rules messageRules, rule Field, f protoreflect.FieldDescriptor) {
	t.Helper()
	where := string(f.FullName())
	if rule.Support == Harmless && rule.Note == "" {
		t.Errorf("%s: is harmless without a reason", where)
	}
	if f.Enum() != nil {
		for _, v := range rule.Values {
			if f.Enum().Values().ByName(protoreflect.Name(v)) == nil {
				t.Errorf("%s: has no value %s", where, v)
			}
		}
	}
	if f.Kind() == protoreflect.BoolKind || strings.HasSuffix(messageName(f), "BoolValue") {
		for _, v := range rule.Values {
			if v != "true" && v != "false" {
				t.Errorf("%s: has no value %s", where, v)
			}
		}
	}
	for _, e := range rule.Extensions {
		if lookupAnywhere(rules.within, e.Type) == nil {
			t.Errorf("%s: the table has no rules for %s", where, e.Type)
		}
		if _, err := protoregistry.GlobalTypes.FindMessageByName(e.Type); err != nil {
			t.Errorf("%s: %s is not linked in", where, e.Type)
		}
	}
	// A message that is walked into needs rules of its own, or all of its fields would be refused.
	if rule.Support != Implemented || f.Message() == nil || f.IsMap() || len(rule.Values) > 0 || len(rule.Extensions) > 0 {
		return
	}
	if inner := f.Message().FullName(); !strings.HasPrefix(string(inner), "google.protobuf.") && lookupAnywhere(rules.within, inner) == nil {
		t.Errorf("%s: the table has no rules for %s", where, inner)
	}
}

func messageName(f protoreflect.FieldDescriptor) string {
	if f.Message() == nil {
		return ""
	}
	return string(f.Message().FullName())
}

// lookupAnywhere finds rules, be it within a resource that this message may or may not stand in.
func lookupAnywhere(within, message protoreflect.FullName) map[protoreflect.Name]*Field {
	for _, w := range []protoreflect.FullName{within, listenerType, clusterType} {
		if rules := lookup(w, message); rules != nil {
			return rules
		}
	}
	return nil
}

// What the documents get tells the refused fields too.
func TestTableForDocuments(t *testing.T) {
	got := Table()
	find := func(message protoreflect.FullName, name protoreflect.Name) Field {
		i := slices.IndexFunc(got, func(f Field) bool { return f.Message == message && f.Name == name })
		if i < 0 {
			t.Fatalf("%s.%s is missing", message, name)
		}
		return got[i]
	}
	if f := find("envoy.config.cluster.v3.Cluster", "lb_policy"); f.Support != Implemented || len(f.Values) != 3 {
		t.Errorf("got %+v", f)
	}
	if f := find("envoy.config.cluster.v3.Cluster", "lb_subset_config"); f.Support != Refused {
		t.Errorf("got %+v", f)
	}
	if f := find("envoy.config.cluster.v3.Cluster", "alt_stat_name"); f.Support != Harmless || f.Note == "" {
		t.Errorf("got %+v", f)
	}
}
