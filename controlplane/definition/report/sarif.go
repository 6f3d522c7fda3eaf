package report

import (
	"net/url"
	"path/filepath"

	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// The parts of SARIF 2.1.0 that problems need: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool       sarifTool     `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string    `json:"id"`
		ShortDescription sarifText `json:"shortDescription"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifText       `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical sarifPhysical  `json:"physicalLocation"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
	}
)

func sarifOf(s *Summary) sarifLog {
	rules := []sarifRule{}
	index := map[string]int{}
	results := []sarifResult{}
	for _, p := range s.Problems {
		if _, ok := index[p.Code]; !ok {
			index[p.Code] = len(rules)
			rules = append(rules, sarifRule{ID: p.Code, ShortDescription: sarifText{definition.Explain(p.Code)}})
		}
		location := sarifLocation{Physical: sarifPhysical{Artifact: sarifArtifact{(&url.URL{Path: filepath.ToSlash(p.File)}).EscapedPath()}}}
		if p.Line > 0 {
			location.Physical.Region = &sarifRegion{StartLine: p.Line, StartColumn: p.Column}
		}
		if p.Ref.Kind != "" {
			location.Logical = []sarifLogical{{FullyQualifiedName: p.Ref.String()}}
		}
		results = append(results, sarifResult{
			RuleID: p.Code, RuleIndex: index[p.Code], Level: string(p.Severity),
			Message: sarifText{p.Text()}, Locations: []sarifLocation{location},
		})
	}
	return sarifLog{
		Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0",
		Runs: []sarifRun{{
			Tool: sarifTool{sarifDriver{Name: "sluice", Rules: rules}}, ColumnKind: "unicodeCodePoints", Results: results,
		}},
	}
}
