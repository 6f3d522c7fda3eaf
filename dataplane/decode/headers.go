package decode

import (
	"fmt"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/xds/operator"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// headerChanges is nil where nothing changes. at is the place without "_remove" and "_add", of which operators are known there.
func (d *decoder) headerChanges(at string, remove []string, add []*corepb.HeaderValueOption, of []string) *config.HeaderChanges {
	if len(remove)+len(add) == 0 {
		return nil
	}
	c := &config.HeaderChanges{}
	for i, name := range remove {
		c.Remove = append(c.Remove, d.changeable(fmt.Sprintf("%s_remove[%d]", at, i), name))
	}
	for i, o := range add {
		here := fmt.Sprintf("%s_add[%d].header", at, i)
		change := config.HeaderChange{
			Name:      d.changeable(here+".key", o.GetHeader().GetKey()),
			Overwrite: o.GetAppendAction() == corepb.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			KeepEmpty: o.GetKeepEmptyValue(),
		}
		d.headerValue(here+".value", o.GetHeader().GetValue(), &change, of)
		c.Add = append(c.Add, change)
	}
	return c
}

// headerValue reads a value, with its operators if it has some.
func (d *decoder) headerValue(at, value string, change *config.HeaderChange, of []string) {
	parts, err := operator.Parse(value, of)
	if err != nil {
		d.refuse(at, "%v", err)
		return
	}
	variables := false
	for _, p := range parts {
		change.Value += p.Literal
		variables = variables || p.Name != ""
	}
	if variables {
		change.Variables = formatOf(parts)
	}
	if !http1.ValidValue(change.Value) || change.Value == "" && !variables && !change.KeepEmpty {
		d.refuse(at, "got %s, want a header's value", quote(value))
	}
}

// changeable is a name in lower case, if it may be changed.
func (d *decoder) changeable(at, name string) string {
	name = strings.ToLower(name)
	if !http1.ValidName(name) || resource.FramesMessage(name) {
		d.refuse(at, "got %s, want the name of a header that is not about the message's end or its connection: %s", quote(name), notSupported)
	}
	return name
}
