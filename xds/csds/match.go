package csds

import (
	"fmt"
	"regexp"
	"strings"

	matcherpb "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// nodes are matchers of node ids, any of which will do; none match all.
type nodes []func(id string) bool

func (n nodes) match(id string) bool {
	for _, one := range n {
		if one(id) {
			return true
		}
	}
	return len(n) == 0
}

// matchers are those of a request. What cannot be told is refused: the metadata of nodes is not kept.
func matchers(all []*matcherpb.NodeMatcher) (out nodes, err error) {
	if len(all) > maxMatchers {
		return nil, fmt.Errorf("node_matchers: got %d, want %d at most", len(all), maxMatchers)
	}
	for i, m := range all {
		if len(m.GetNodeMetadatas()) > 0 {
			return nil, fmt.Errorf("node_matchers[%d].node_metadatas: got some, want none: clients are told apart by node_id", i)
		}
		one, err := id(m.GetNodeId())
		if err != nil {
			return nil, fmt.Errorf("node_matchers[%d].node_id: %w", i, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// id is a matcher of one string; nil matches all.
func id(m *matcherpb.StringMatcher) (func(string) bool, error) {
	if m == nil {
		return func(string) bool { return true }, nil
	}
	fold := func(s string) string { return s }
	if m.GetIgnoreCase() {
		fold = strings.ToLower
	}
	switch p := m.GetMatchPattern().(type) {
	case *matcherpb.StringMatcher_Exact:
		return func(s string) bool { return fold(s) == fold(p.Exact) }, nil
	case *matcherpb.StringMatcher_Prefix:
		return func(s string) bool { return strings.HasPrefix(fold(s), fold(p.Prefix)) }, nil
	case *matcherpb.StringMatcher_Suffix:
		return func(s string) bool { return strings.HasSuffix(fold(s), fold(p.Suffix)) }, nil
	case *matcherpb.StringMatcher_Contains:
		return func(s string) bool { return strings.Contains(fold(s), fold(p.Contains)) }, nil
	case *matcherpb.StringMatcher_SafeRegex:
		// The whole of it, in RE2, as Envoy has it; ignore_case has no effect on it.
		re, err := regexp.Compile(`^(?:` + p.SafeRegex.GetRegex() + `)$`)
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	}
	return nil, fmt.Errorf("got a pattern that is not known, want exact, prefix, suffix, contains or safe_regex")
}
