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
	"google.golang.org/protobuf/proto"

	"github.com/sluice-proxy/sluice/controlplane/translate"
	"github.com/sluice-proxy/sluice/xds/resource"
	"github.com/sluice-proxy/sluice/xds/snapshot"
)

// Render is a resource as YAML without its secrets, its certificates in words. Nil is empty.
func Render(typeURL string, r *snapshot.Resource) (string, error) {
	if r == nil {
		return "", nil
	}
	m, err := r.Any().UnmarshalNew()
	if err != nil {
		return "", err
	}
	return yamlOf(typeURL, m)
}

// RenderBoth is Render of what was and what is, without the items of long lists that are the same in both: of a table of
// thousands of hosts, those that change.
func RenderBoth(typeURL string, was, is *snapshot.Resource) (old, next string, err error) {
	if was == nil || is == nil {
		if old, err = Render(typeURL, was); err == nil {
			next, err = Render(typeURL, is)
		}
		return old, next, err
	}
	a, err := was.Any().UnmarshalNew()
	if err != nil {
		return "", "", err
	}
	b, err := is.Any().UnmarshalNew()
	if err != nil {
		return "", "", err
	}
	leaveOutSame(a.ProtoReflect(), b.ProtoReflect())
	if old, err = yamlOf(typeURL, a); err == nil {
		next, err = yamlOf(typeURL, b)
	}
	return old, next, err
}

// RenderPart is Render without the items of lists that keep does not want: it is asked with the list's name and the item's.
// Virtual hosts that are left without routes are left out. Of a list most items are shown.
func RenderPart(typeURL string, r *snapshot.Resource, most int, keep func(list, name string) bool) (string, error) {
	m, err := r.Any().UnmarshalNew()
	if err != nil {
		return "", err
	}
	more := 0
	prune(m.ProtoReflect(), keep, most, &more)
	text, err := yamlOf(typeURL, m)
	if more > 0 && err == nil {
		text += fmt.Sprintf("# and %d more items of lists\n", more)
	}
	return text, err
}

// yamlOf renders a message.
func yamlOf(typeURL string, m proto.Message) (string, error) {
	rendered, err := translate.YAML(typeURL, m)
	if err != nil || typeURL != resource.SecretType {
		return string(rendered), err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(rendered, &node); err != nil {
		return "", err
	}
	inWords(&node)
	var out strings.Builder
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&node); err != nil {
		return "", err
	}
	return out.String(), encoder.Close()
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
