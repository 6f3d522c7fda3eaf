package main

import (
	"fmt"
	"strings"
	"testing"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
)

// TestLongPlan: many of the same are counted, and --full shows all.
func TestLongPlan(t *testing.T) {
	answer := &adminv1.PlanResponse{Fleets: []*adminv1.FleetChange{{Fleet: "edge"}}}
	for i := range 300 {
		answer.Documents = append(answer.Documents, &adminv1.DocumentChange{Document: fmt.Sprint("Route/r", i), Change: "changed", Diff: "@@\n-a\n+b"})
		answer.Fleets[0].Resources = append(answer.Fleets[0].Resources, &adminv1.ResourceChange{Type: "VHDS", Name: fmt.Sprint("h", i), Change: "changed", Diff: "@@\n-c\n+d"})
	}
	for i := range 11 {
		answer.Fleets[0].Resources = append(answer.Fleets[0].Resources, &adminv1.ResourceChange{Type: "VHDS", Name: fmt.Sprint("n", i), Change: "added"})
	}
	write := func(full bool) string {
		var b strings.Builder
		if err := writePlan(&b, answer, false, full); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	short := write(false)
	for _, want := range []string{"\n~ Route/r49 ", "\nand 250 more documents (--full shows them)\n", "\n  ~ VHDS h9\n", "\n  ~ VHDS: 290 more (--full shows them)\n", "\n  + VHDS n10\n", "0 added, 300 changed"} {
		if !strings.Contains(short, want) {
			t.Errorf("want %q in\n%s", want, short)
		}
	}
	for _, not := range []string{"Route/r50 ", "VHDS h10\n"} {
		if strings.Contains(short, not) {
			t.Errorf("do not want %q in\n%s", not, short)
		}
	}
	if full := write(true); strings.Count(full, "~ ") != 600 || strings.Contains(full, "more") {
		t.Errorf("--full: got %d changes, want 600", strings.Count(full, "~ "))
	}
}
