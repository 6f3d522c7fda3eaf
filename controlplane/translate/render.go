package translate

import (
	"bytes"
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/sluice-proxy/sluice/xds/redact"
)

// YAML renders one resource for people, as it would stand in a file of Envoy's, with "@type" first. Secrets read
// "[redacted]". Equal input gives equal text.
func YAML(typeURL string, m proto.Message) ([]byte, error) {
	text, err := JSON(typeURL, m)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	node, err := yamlNode(decoder)
	if err != nil {
		return nil, fmt.Errorf("translate: render %s: %w", typeURL, err)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(node); err != nil {
		return nil, fmt.Errorf("translate: render %s: %w", typeURL, err)
	}
	return out.Bytes(), encoder.Close()
}

// JSON is YAML's twin.
func JSON(typeURL string, m proto.Message) ([]byte, error) {
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("translate: render %s: %w", typeURL, err)
	}
	// Through an Any, so that the JSON begins with the type.
	text, err := redact.JSON(&anypb.Any{TypeUrl: typeURL, Value: value})
	if err != nil {
		return nil, fmt.Errorf("translate: render %s: %w", typeURL, err)
	}
	return text, nil
}

// yamlNode reads one JSON value, and keeps the order of keys, which is that of the proto's fields.
func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Delim:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		if token == '{' {
			node.Kind = yaml.MappingNode
		}
		for d.More() {
			// In an object keys and values alternate, as they do in a mapping node.
			child, err := yamlNode(d)
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, child)
		}
		_, err := d.Token()
		return node, err
	case string:
		// The encoder quotes what YAML 1.1, which Envoy reads, takes for something else: n, yes, 0o7.
		node := &yaml.Node{}
		return node, node.Encode(token)
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: token.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(token)}, nil
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	}
}
