package quarantine

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluice-proxy/sluice/xds/resource"
)

// judgement is what a fleet says of a publication.
type judgement int

const (
	pending judgement = iota
	accepted
	refused
	nobody // no proxy is there
)

// refusal is who refuses something, and in which words.
type refusal struct {
	Fleet     string   `json:"fleet"`
	Class     string   `json:"class"`
	Type      string   `json:"type"` // in short
	Text      string   `json:"text"`
	Proxies   []string `json:"proxies"` // by id, at most maxWitnesses
	Witnesses int      `json:"witnesses"`
	version   string
}

const maxWitnesses = 16

// why is the text of a problem.
func (c *conviction) why() string {
	who := c.Fleet + "/" + c.Proxies[0]
	if c.Witnesses > 1 {
		who += fmt.Sprintf(" and %d more", c.Witnesses-1)
	}
	what := "it"
	if c.Hash == "" {
		what = "its deletion"
	}
	return fmt.Sprintf("%s (%s) refuses %s, so it is held back: %s: %s", who, c.Class, what, c.Type, c.Text)
}

// judge works out what a fleet says of what is published. A class of proxies refuses if one does and none accepts the same:
// else it is that proxy's own trouble, such as a port that is busy there. wake is when time alone may change the answer.
func (r *Room) judge(name string, now time.Time) (j judgement, why refusal, wake time.Time) {
	types := r.published.Fleets[name].Types
	classes := map[string][]*stream{}
	for _, s := range r.streams {
		if s.fleet == name {
			classes[s.class] = append(classes[s.class], s)
		}
	}
	j = nobody
	for class, streams := range classes {
		cj, cwhy, at := r.judgeClass(types, streams, now)
		wake = earlier(wake, at)
		switch {
		case cj == refused:
			cwhy.Fleet, cwhy.Class = name, class
			return refused, cwhy, wake
		case cj == pending, cj == accepted && j == nobody:
			j = cj
		}
	}
	return j, why, wake
}

func (r *Room) judgeClass(types map[string]Type, streams []*stream, now time.Time) (j judgement, why refusal, wake time.Time) {
	j = nobody
	var refusing, fine []*stream
	for _, s := range streams {
		sj, _ := s.judge(types)
		switch sj {
		case refused:
			refusing = append(refusing, s)
			continue
		case accepted:
			j = accepted
		case pending:
			late := s.since
			if r.at.After(late) {
				late = r.at
			}
			if late = late.Add(absent); now.Before(late) {
				wake = earlier(wake, late)
				if j == nobody {
					j = pending
				}
			}
		}
		fine = append(fine, s)
	}
	slices.SortFunc(refusing, func(a, b *stream) int { return a.refusedAt(types).Compare(b.refusedAt(types)) })
	for _, s := range refusing {
		_, url := s.judge(types)
		version := types[url].Version
		if slices.ContainsFunc(fine, func(o *stream) bool { w := o.types[url]; return !w.refused && w.version == version }) {
			continue
		}
		waiting := slices.ContainsFunc(fine, func(o *stream) bool { return o.types[url].version != version })
		if until := s.types[url].at.Add(grace); waiting && now.Before(until) {
			return pending, why, earlier(wake, until)
		}
		short, _ := resource.ByURL(url)
		why = refusal{Type: short.Short, Text: s.types[url].text, version: version}
		for _, o := range refusing {
			if w := o.types[url]; w.refused && w.version == version {
				why.Witnesses++
				if len(why.Proxies) < maxWitnesses {
					why.Proxies = append(why.Proxies, o.id)
				}
			}
		}
		return refused, why, wake
	}
	return j, why, wake
}

// judge is what one proxy says; url is the type that it refuses.
func (s *stream) judge(types map[string]Type) (j judgement, url string) {
	j = accepted
	for _, known := range resource.PushOrder {
		t, w := types[known.URL], s.types[known.URL]
		needed := t.Resources > 0 || known.URL == resource.ClusterType || known.URL == resource.ListenerType
		switch {
		case w.version == "" && !needed, !w.refused && w.version == t.Version && w.version != "":
		case w.refused && w.version == t.Version:
			return refused, known.URL
		default:
			j = pending
		}
	}
	return j, ""
}

func (s *stream) refusedAt(types map[string]Type) time.Time {
	_, url := s.judge(types)
	return s.types[url].at
}
