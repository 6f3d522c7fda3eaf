package server

import (
	"fmt"
	"slices"
	"testing"
)

func (s *subscription) String() string {
	names := slices.Sorted(s.each)
	if s.all {
		names = append([]string{"*"}, names...)
	}
	return fmt.Sprint(names)
}

func TestSubscriptionSet(t *testing.T) {
	type step struct {
		names []string
		want  string // the subscription after it
		fresh string
	}
	no := []string(nil)
	tests := []struct {
		name   string
		legacy bool
		steps  []step
	}{
		{"legacy wildcard", true, []step{{no, "[*]", "[]"}, {no, "[*]", "[]"}}},
		{"no legacy wildcard", false, []step{{no, "[]", "[]"}}},
		{"no names after names", true, []step{{[]string{"a"}, "[a]", "[a]"}, {no, "[]", "[]"}, {no, "[]", "[]"}}},
		{"names end the legacy wildcard", true, []step{{no, "[*]", "[]"}, {[]string{"a"}, "[a]", "[]"}, {no, "[]", "[]"}}},
		{"explicit wildcard", false, []step{{[]string{"*"}, "[*]", "[]"}, {[]string{"*", "a"}, "[* a]", "[]"}, {no, "[]", "[]"}}},
		{"the wildcard counts as a name", true, []step{{[]string{"*"}, "[*]", "[]"}, {no, "[]", "[]"}}},
		{"twice", false, []step{{[]string{"a", "b", "a"}, "[a b]", "[a b]"}, {[]string{"a", "a"}, "[a]", "[]"}}},
		{"again after a while", false, []step{{[]string{"a"}, "[a]", "[a]"}, {no, "[]", "[]"}, {[]string{"a"}, "[a]", "[a]"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s subscription
			for i, step := range test.steps {
				c := s.set(step.names, test.legacy)
				if got := s.String(); got != step.want {
					t.Fatalf("step %d: got %s, want %s", i, got, step.want)
				}
				if got := fmt.Sprint(c.fresh); got != step.fresh {
					t.Fatalf("step %d: fresh: got %s, want %s", i, got, step.fresh)
				}
			}
		})
	}
}

func TestSubscriptionUpdate(t *testing.T) {
	type step struct {
		add, remove []string
		want        string
		change      string // "fresh again released"
	}
	no := []string(nil)
	a, b, star := []string{"a"}, []string{"b"}, []string{"*"}
	tests := []struct {
		name   string
		legacy bool
		steps  []step
	}{
		{"legacy wildcard", true, []step{{no, no, "[*]", "[] [] []"}, {no, no, "[*]", "[] [] []"}}},
		{"no legacy wildcard", false, []step{{no, no, "[]", "[] [] []"}}},
		{"a name keeps the legacy wildcard", true, []step{{no, no, "[*]", "[] [] []"}, {a, no, "[* a]", "[] [a] []"}, {no, a, "[*]", "[] [] [a]"}}},
		{"only unsubscribing it ends it", true, []step{{no, no, "[*]", "[] [] []"}, {a, no, "[* a]", "[] [a] []"}, {no, star, "[a]", "[] [] []"}, {no, no, "[a]", "[] [] []"}}},
		{"unsubscribed at once", true, []step{{no, star, "[]", "[] [] []"}, {no, no, "[]", "[] [] []"}}},
		{"names first", true, []step{{a, no, "[a]", "[a] [] []"}, {no, a, "[]", "[] [] []"}, {no, no, "[]", "[] [] []"}}},
		{"explicit wildcard", false, []step{{star, no, "[*]", "[] [] []"}, {no, b, "[*]", "[] [] [b]"}, {no, star, "[]", "[] [] []"}}},
		{"again", false, []step{{a, no, "[a]", "[a] [] []"}, {a, no, "[a]", "[] [a] []"}}},
		{"swap", false, []step{{a, no, "[a]", "[a] [] []"}, {b, a, "[b]", "[b] [] []"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var s subscription
			for i, step := range test.steps {
				c := s.update(step.add, step.remove, test.legacy)
				if got := s.String(); got != step.want {
					t.Fatalf("step %d: got %s, want %s", i, got, step.want)
				}
				if got := fmt.Sprint(c.fresh, c.again, c.released); got != step.change {
					t.Fatalf("step %d: got %s, want %s", i, got, step.change)
				}
			}
		})
	}
}
