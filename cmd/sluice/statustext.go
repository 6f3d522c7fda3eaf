package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	adminv1 "github.com/sluice-proxy/sluice/api/sluice/admin/v1"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// writeStatus writes a line for each proxy, what they refuse, and what is wrong with the documents. fleet is the one that was
// asked about; empty is all.
func writeStatus(w io.Writer, response *adminv1.StatusResponse, fleet string, wide bool, now time.Time) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprint(table, "FLEET\tPROXY\tAGENT\tCONNECTED")
	for _, t := range resource.PushOrder {
		fmt.Fprintf(table, "\t%s", t.Short)
	}
	fmt.Fprintln(table)
	var refusals []string
	for _, p := range response.GetProxies() {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s", p.GetFleet(), p.GetId(), p.GetAgent(), connected(p, now))
		for _, t := range resource.PushOrder {
			s := typeOf(p, t.Short)
			fmt.Fprintf(table, "\t%s", s.GetState())
			if wide && s.GetAccepted() != "" {
				fmt.Fprintf(table, " %s", s.GetAccepted())
				if s.GetSent() != s.GetAccepted() {
					fmt.Fprintf(table, "→%s", s.GetSent())
				}
			}
			if s.GetState() == adminv1.TypeStatus_ERROR {
				refusals = append(refusals, fmt.Sprintf("%s/%s refuses %s since %s: %s%s", p.GetFleet(), p.GetId(), t.Short, age(s.GetSince(), now), s.GetError(), about(s)))
			}
		}
		fmt.Fprintln(table)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(response.GetProxies()) == 0 && fleet != "" {
		fmt.Fprintf(&b, "(no proxy of fleet %s is connected, or was seen lately)\n", fleet)
	} else if len(response.GetProxies()) == 0 {
		b.WriteString("(no proxy has connected yet: start one with the file that 'sluice bootstrap' writes)\n")
	} else {
		section(&b, []string{total(response.GetTotals())})
	}
	section(&b, refusals)
	section(&b, problems(response))
	_, err := io.WriteString(w, b.String())
	return err
}

// connected is since when, or that it went.
func connected(p *adminv1.Proxy, now time.Time) string {
	if !p.GetConnected() {
		return "no, since " + age(p.GetSince(), now)
	}
	return age(p.GetSince(), now)
}

func typeOf(p *adminv1.Proxy, short string) *adminv1.TypeStatus {
	for _, t := range p.GetTypes() {
		if t.GetType() == short {
			return t
		}
	}
	return &adminv1.TypeStatus{Type: short, State: adminv1.TypeStatus_NOT_SENT}
}

func total(t *adminv1.Totals) string {
	text := fmt.Sprintf("%d connected: %d have the newest", t.GetConnected(), t.GetSynced())
	if n := t.GetConnected() - t.GetSynced() - t.GetRefusing(); n > 0 {
		text += fmt.Sprintf(", %d have not yet", n)
	}
	if n := t.GetRefusing(); n > 0 {
		text += fmt.Sprintf(", %d refuse something", n)
	}
	if n := t.GetGone(); n > 0 {
		text += fmt.Sprintf("; %d went", n)
	}
	return text
}

// about are the resources that a refusal may be about, and where they are written.
func about(t *adminv1.TypeStatus) string {
	var b strings.Builder
	for _, r := range t.GetAbout() {
		fmt.Fprintf(&b, "\n  %s %s: %s", r.GetType(), r.GetName(), from(r, 3))
	}
	if n := t.GetAboutMore(); n > 0 {
		fmt.Fprintf(&b, "\n  or any of %d more", n)
	}
	return b.String()
}

// from is where a resource is written, at most so many documents; all if most is 0.
func from(r *adminv1.ResourceRef, most int) string {
	var parts []string
	for i, o := range r.GetOrigins() {
		if most > 0 && i == most {
			parts = append(parts, "…")
			break
		}
		if o.GetFile() == "" {
			parts = append(parts, o.GetDocument())
			continue
		}
		parts = append(parts, fmt.Sprintf("%s:%d: %s", o.GetFile(), o.GetLine(), o.GetDocument()))
	}
	return cmp.Or(strings.Join(parts, ", "), "-")
}

func problems(response *adminv1.StatusResponse) (lines []string) {
	for _, p := range response.GetProblems() {
		lines = append(lines, describeProblem(p))
	}
	return lines
}

func section(b *strings.Builder, lines []string) {
	if len(lines) > 0 {
		b.WriteString("\n" + strings.Join(lines, "\n") + "\n")
	}
}

// fewResources is how many resources of a proxy are written without -o wide.
const fewResources = 50

// writeProxy writes what one proxy has: what is not in order first.
func writeProxy(w io.Writer, response *adminv1.StatusResponse, wide bool, now time.Time) error {
	p := response.GetProxies()[0]
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s (%s): ", p.GetFleet(), p.GetId(), cmp.Or(p.GetAgent(), "unknown software"))
	if p.GetConnected() {
		fmt.Fprintf(&b, "connected since %s, from %s\n", age(p.GetSince(), now), p.GetPeer())
	} else {
		fmt.Fprintf(&b, "went %s ago; what it had then:\n", age(p.GetSince(), now))
	}
	resources := slices.Clone(p.GetResources())
	slices.SortStableFunc(resources, func(x, y *adminv1.ResourceStatus) int { return cmp.Compare(rank(x), rank(y)) })
	table := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	more := int(p.GetMoreResources())
	if !wide && len(resources) > fewResources {
		more += len(resources) - fewResources
		resources = resources[:fewResources]
	}
	if len(resources) > 0 {
		fmt.Fprintln(table, "\nSTATE\tTYPE\tNAME\tSINCE\tWANTED\tSENT\tACCEPTED\tFROM")
	}
	words := map[string]bool{}
	var said []string
	for _, r := range resources {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.GetState(), r.GetResource().GetType(), r.GetResource().GetName(), age(r.GetSince(), now),
			cmp.Or(r.GetWanted(), "-"), cmp.Or(r.GetSent(), "-"), cmp.Or(r.GetAccepted(), "-"), from(r.GetResource(), 3))
		if r.GetError() != "" && !words[r.GetError()] {
			words[r.GetError()] = true
			text := r.GetResource().GetType() + " refused: " + r.GetError()
			if n := r.GetDoubts(); n > 1 {
				text += fmt.Sprintf(" (it may be about any of %d)", n)
			}
			said = append(said, text)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	section(&b, said)
	table = tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "\nTYPE\tSTATE\tSINCE\tRESOURCES\tACCEPTED\tSENT")
	for _, t := range p.GetTypes() {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", t.GetType(), t.GetState(), age(t.GetSince(), now), t.GetResources(),
			cmp.Or(t.GetAccepted(), "-"), cmp.Or(t.GetSent(), "-"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// rank puts what is not in order first.
func rank(r *adminv1.ResourceStatus) int {
	return slices.Index([]adminv1.TypeStatus_State{
		adminv1.TypeStatus_ERROR, adminv1.TypeStatus_STALE, adminv1.TypeStatus_NOT_SENT, adminv1.TypeStatus_SYNCED,
	}, r.GetState())
}
