package decode

import (
	"fmt"
	"strings"

	corepb "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/sluice-proxy/sluice/dataplane/config"
	"github.com/sluice-proxy/sluice/dataplane/http1"
	"github.com/sluice-proxy/sluice/xds/resource"
)

// headerChanges is nil where nothing changes. at is the place without "_remove" and "_add".
func (d *decoder) headerChanges(at string, remove []string, add []*corepb.HeaderValueOption) *config.HeaderChanges {
	if len(remove)+len(add) == 0 {
		return nil
	}
	c := &config.HeaderChanges{}
	for i, name := range remove {
		c.Remove = append(c.Remove, d.changeable(fmt.Sprintf("%s_remove[%d]", at, i), name))
	}
	for i, o := range add {
		here := fmt.Sprintf("%s_add[%d].header", at, i)
		value := o.GetHeader().GetValue()
		if strings.Contains(strings.ReplaceAll(value, "%%", ""), "%") {
			d.refuse(here+".value", "got %s, want no variables: %s", quote(value), notSupported)
		}
		value = strings.ReplaceAll(value, "%%", "%")
		if value == "" || !http1.ValidValue(value) {
			d.refuse(here+".value", "got %s, want a header's value", quote(value))
		}
		c.Add = append(c.Add, config.HeaderChange{
			Name: d.changeable(here+".key", o.GetHeader().GetKey()), Value: value,
			Overwrite: o.GetAppendAction() == corepb.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return c
}

// changeable is a name in lower case, if it may be changed.
func (d *decoder) changeable(at, name string) string {
	name = strings.ToLower(name)
	if !http1.ValidName(name) || resource.FramesMessage(name) {
		d.refuse(at, "got %s, want the name of a header that is not about the message's end or its connection: %s", quote(name), notSupported)
	}
	return name
}
