package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// outputFlag is -o with some of its formats; the first is the default and is called "text" in help.
func outputFlag(cmd *cobra.Command, format *string, formats ...string) {
	cmd.Flags().StringVarP(format, "output", "o", "", "`format`: "+strings.Join(formats, ", ")+" (default text)")
	check := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if *format != "" && !slices.Contains(formats, *format) {
			return usagef("-o: got %q, want one of %s", *format, strings.Join(formats, ", "))
		}
		if check != nil {
			return check(cmd, args)
		}
		return nil
	}
}

// writeJSON writes JSON as JSON, or as YAML with the same order of keys.
func writeJSON(w io.Writer, format string, text []byte) error {
	if format == "yaml" {
		var node yaml.Node
		// JSON is YAML; only its style is to be forgotten.
		if err := yaml.Unmarshal(text, &node); err != nil {
			return err
		}
		plain(&node)
		encoder := yaml.NewEncoder(w)
		encoder.SetIndent(2)
		if err := encoder.Encode(&node); err != nil {
			return err
		}
		return encoder.Close()
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s\n", escapeJSON(b.Bytes()))
	return err
}

func plain(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		plain(child)
	}
}

// writeMessage writes a message of the API.
func writeMessage(w io.Writer, format string, m proto.Message) error {
	text, err := protojson.Marshal(m)
	if err != nil {
		return err
	}
	return writeJSON(w, format, text)
}
