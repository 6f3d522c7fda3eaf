package served

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// Render is a resource as YAML without its secrets, its certificates in words. Nil is empty.
func Render(typeURL string, r *snapshot.Resource) (string, error) {
	return RenderPart(typeURL, r, nil)
}

// RenderPart is Render without the items of lists that keep does not want: it is asked with the list's name and the item's.
// Virtual hosts that are left without routes are left out.
func RenderPart(typeURL string, r *snapshot.Resource, keep func(list, name string) bool) (string, error) {
	if r == nil {
		return "", nil
	}
	m, err := r.Any().UnmarshalNew()
	if err != nil {
		return "", err
	}
	rendered, err := translate.YAML(typeURL, m)
	if err != nil || typeURL != resource.SecretType && keep == nil {
		return string(rendered), err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(rendered, &node); err != nil {
		return "", err
	}
	if typeURL == resource.SecretType {
		inWords(&node)
	}
	if keep != nil {
		prune(&node, keep)
	}
	var out strings.Builder
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return "", err
	}
	return out.String(), encoder.Close()
}

// prune leaves out what keep does not want.
func prune(n *yaml.Node, keep func(list, name string) bool) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && child.Kind == yaml.SequenceNode {
			list := n.Content[i-1].Value
			child.Content = slices.DeleteFunc(child.Content, func(item *yaml.Node) bool {
				prune(item, keep)
				return item.Kind == yaml.MappingNode && (!keep(list, value(item, "name")) || list == "virtual_hosts" && without(item, "routes"))
			})
			continue
		}
		prune(child, keep)
	}
}

// value is the text of a key in a mapping; "" if there is none.
func value(mapping *yaml.Node, key string) string {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1].Value
		}
	}
	return ""
}

// without says whether a list in a mapping is there and empty.
func without(mapping *yaml.Node, key string) bool {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return len(mapping.Content[i+1].Content) == 0
		}
	}
	return false
}

// inWords puts certificates' names in the place of their bytes.
func inWords(n *yaml.Node) {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].Value == "inline_bytes" {
			if words := certificates(child.Value); len(words) > 0 {
				list := &yaml.Node{Kind: yaml.SequenceNode}
				for _, w := range words {
					list.Content = append(list.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: w})
				}
				n.Content[i] = list
			}
			continue
		}
		inWords(child)
	}
}

func certificates(encoded string) (words []string) {
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		names := slices.Clone(c.DNSNames)
		for _, ip := range c.IPAddresses {
			names = append(names, ip.String())
		}
		if len(names) == 0 {
			names = []string{c.Subject.String()}
		}
		sum := sha256.Sum256(c.Raw)
		words = append(words, fmt.Sprintf("%s, until %s, sha256 %s", strings.ToValidUTF8(strings.Join(names, " "), "\uFFFD"), c.NotAfter.UTC().Format("2006-01-02"), hex.EncodeToString(sum[:8])))
	}
	return words
}
