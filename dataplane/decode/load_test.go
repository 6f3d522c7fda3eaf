package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/xds/resource"
)

var update = flag.Bool("update", false, "write testdata")

// resources reads YAML documents with "@type" as they stand in Envoy's files.
func resources(t testing.TB, text []byte) []*anypb.Any {
	t.Helper()
	var out []*anypb.Any
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document any
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		var r anypb.Any
		if err := protojson.Unmarshal(asJSON, &r); err != nil {
			t.Fatalf("%v\n%s", err, asJSON)
		}
		out = append(out, &r)
	}
}

// decodeAny decodes a resource by its type.
func decodeAny(r *anypb.Any) (any, error) {
	switch r.GetTypeUrl() {
	case resource.ListenerType:
		return Listener(r)
	case resource.RouteType:
		return RouteTable(r)
	case resource.VirtualHostType:
		return VirtualHost(r)
	case resource.ClusterType:
		return Cluster(r)
	case resource.EndpointType:
		return Assignment(r)
	case resource.SecretType:
		return SecretOf(r)
	}
	return nil, fmt.Errorf("no decoder for %q", r.GetTypeUrl())
}

// describe renders a config value for a golden file: what is zero is left out, durations are readable.
func describe(v any) string {
	var b strings.Builder
	write(&b, reflect.ValueOf(v), "")
	return b.String()
}

func write(b *strings.Builder, v reflect.Value, indent string) {
	if text, ok := v.Interface().(fmt.Stringer); ok && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		fmt.Fprintf(b, " %s\n", text)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		write(b, v.Elem(), indent)
	case reflect.Struct:
		fmt.Fprintf(b, " %s\n", v.Type().Name())
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				continue
			}
			fmt.Fprintf(b, "%s  %s:", indent, v.Type().Field(i).Name)
			write(b, v.Field(i), indent+"  ")
		}
	case reflect.Slice:
		if text, ok := v.Interface().([]string); ok {
			fmt.Fprintf(b, " %q\n", text)
			return
		}
		b.WriteString("\n")
		for i := range v.Len() {
			fmt.Fprintf(b, "%s  -", indent)
			write(b, v.Index(i), indent+"  ")
		}
	case reflect.Map:
		b.WriteString("\n")
		texts := v.Interface().(map[string]config.Format)
		for _, key := range slices.Sorted(maps.Keys(texts)) {
			fmt.Fprintf(b, "%s  %s: %s\n", indent, key, texts[key])
		}
	case reflect.String:
		fmt.Fprintf(b, " %q\n", shorten(v.String(), 200))
	default:
		fmt.Fprintf(b, " %v\n", v.Interface())
	}
}
