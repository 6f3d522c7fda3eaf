package definition

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	sluicev1 "github.com/sluice-proxy/sluice/api/sluice/v1"
)

// Expand is what a document means, as YAML with short forms written out and every default filled in. A Service with
// hosts is two documents: the Service, and the Route that its hosts stand for.
func Expand(d *Document) ([]byte, error) {
	messages := []proto.Message{d.Message}
	if service, ok := d.Message.(*sluicev1.Service); ok && len(service.GetHosts()) > 0 {
		alone := proto.CloneOf(service)
		alone.Hosts, alone.Gateways = nil, nil
		messages = []proto.Message{alone, RouteOf(service)}
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	for _, m := range messages {
		full := WithDefaults(m).ProtoReflect()
		root := messageNode(full)
		root.Content = append([]*yaml.Node{textNode("kind"), textNode(string(full.Descriptor().Name()))}, root.Content...)
		if err := encoder.Encode(root); err != nil {
			return nil, fmt.Errorf("definition: %s: %w", d.Ref, err)
		}
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("definition: %s: %w", d.Ref, err)
	}
	return out.Bytes(), nil
}

// ExpandAll is what documents mean together: each one expanded, with its place in a comment, and the built-in Gateway and
// Certificate where they serve.
func ExpandAll(documents []*Document) ([]byte, error) {
	builtin := BuiltinGateway()
	defined := map[Ref]bool{}
	for _, d := range documents {
		defined[d.Ref] = true
	}
	gateway, certificate := builtin[0], builtin[1]
	all := slices.Clone(documents)
	if !defined[gateway.Ref] && slices.ContainsFunc(all, joinsDefault) {
		all = append(all, gateway)
	}
	if !defined[certificate.Ref] && slices.ContainsFunc(all, presentsDefault) {
		all = append(all, certificate)
	}
	var out bytes.Buffer
	for i, d := range all {
		text, err := Expand(d)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		fmt.Fprintf(&out, "# %s\n%s", d.Position, text)
	}
	return out.Bytes(), nil
}

// joinsDefault tells whether a document publishes itself on the Gateway "default".
func joinsDefault(d *Document) bool {
	route, ok := d.Message.(*sluicev1.Route)
	if service, isService := d.Message.(*sluicev1.Service); isService {
		route, ok = RouteOf(service), len(service.GetHosts()) > 0
	}
	return ok && slices.ContainsFunc(WithDefaults(route).GetGateways(), func(ref string) bool {
		name, _, _ := strings.Cut(ref, "/")
		return name == DefaultGateway
	})
}

// presentsDefault tells whether a document is a Gateway that presents the Certificate "default".
func presentsDefault(d *Document) bool {
	gateway, _ := d.Message.(*sluicev1.Gateway)
	return slices.ContainsFunc(gateway.GetListeners(), func(l *sluicev1.Listener) bool {
		return slices.Contains(l.GetCertificates(), DefaultGateway)
	})
}

// messageNode is a message as a mapping, its fields in the order of the .proto file, which is that in which one reads.
func messageNode(m protoreflect.Message) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, fd := range fieldsInOrder(m.Descriptor()) {
		if !m.Has(fd) {
			continue
		}
		node.Content = append(node.Content, textNode(fd.JSONName()), fieldNode(m.Get(fd), fd))
	}
	if len(node.Content) == 0 {
		node.Style = yaml.FlowStyle
	}
	return node
}

func fieldNode(value protoreflect.Value, fd protoreflect.FieldDescriptor) *yaml.Node {
	switch {
	case fd.IsMap():
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		keys := []string{}
		for key := range value.Map().Range {
			keys = append(keys, key.String())
		}
		slices.Sort(keys)
		for _, key := range keys {
			entry := value.Map().Get(protoreflect.ValueOfString(key).MapKey())
			node.Content = append(node.Content, textNode(key), valueNode(entry, fd.MapValue()))
		}
		return node
	case fd.IsList():
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range value.List().Len() {
			item := valueNode(value.List().Get(i), fd)
			if short(item) {
				flow(item)
			}
			node.Content = append(node.Content, item)
		}
		if fd.Kind() != protoreflect.MessageKind {
			node.Style = yaml.FlowStyle
		}
		return node
	}
	return valueNode(value, fd)
}

// short tells whether a mapping reads better on one line: few scalars, and nothing else.
func short(n *yaml.Node) bool {
	const most = 3
	return n.Kind == yaml.MappingNode && len(n.Content) <= 2*most && !slices.ContainsFunc(n.Content, func(c *yaml.Node) bool {
		return c.Kind != yaml.ScalarNode || c.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
	})
}

// flow puts a mapping of scalars on one line, with one kind of quotes.
func flow(n *yaml.Node) {
	n.Style = yaml.FlowStyle
	for _, c := range n.Content {
		if strings.ContainsAny(c.Value, ":,[]{}") {
			c.Style = yaml.DoubleQuotedStyle
		}
	}
}

func valueNode(value protoreflect.Value, fd protoreflect.FieldDescriptor) *yaml.Node {
	switch fd.Kind() {
	case protoreflect.MessageKind:
		return messageNode(value.Message())
	case protoreflect.StringKind:
		return textNode(value.String())
	case protoreflect.BoolKind:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(value.Bool())}
	case protoreflect.DoubleKind:
		node := &yaml.Node{}
		node.SetString(value.String())
		node.Tag = "" // the reader's: a whole number, or not
		return node
	case protoreflect.EnumKind:
		return textNode(string(fd.Enum().Values().ByNumber(value.Enum()).Name()))
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: value.String()}
}

// textNode is a text, in quotes where it would be read as something else.
func textNode(text string) *yaml.Node {
	node := &yaml.Node{}
	node.SetString(text)
	var read yaml.Node
	// yaml.v3 leaves bare what YAML 1.1 takes for a time or a date; the reader of what we print may be another.
	if err := yaml.Unmarshal([]byte(text), &read); node.Style == 0 && (err != nil || len(read.Content) == 0 || read.Content[0].ShortTag() != "!!str") {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}
