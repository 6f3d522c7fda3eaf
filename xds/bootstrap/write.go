package bootstrap

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"text/template"
)

// Options are what one proxy's file says.
type Options struct {
	// Server is the control plane, host:port. A name is resolved by DNS.
	Server string
	// Fleet and ID are node.cluster and node.id.
	Fleet, ID string
	// Admin is the proxy's admin server, address:port; empty is none.
	Admin string
	// MaxConnections bounds the connections of clients in all, and MaxHeap the memory in bytes; 0 is no bound.
	MaxConnections, MaxHeap uint64
	// StateOfTheWorld asks for api_type GRPC instead of DELTA_GRPC.
	StateOfTheWorld bool
	// CA verifies the control plane, which must have Server's host in its certificate; Certificate and Key are the proxy's
	// own. All are file names, as the proxy sees them. Without any, the connection is plaintext.
	CA, Certificate, Key string
	// IdentityFile and TrustFile are files of secrets, as Identity and Trust write them, in place of CA, Certificate and Key:
	// both kinds of proxy take it up when they are replaced.
	IdentityFile, TrustFile string
}

//go:embed bootstrap.yaml.tmpl
var text string

var file = template.Must(template.New("bootstrap.yaml").Funcs(template.FuncMap{"quote": quote}).Parse(text))

// quote writes a string that YAML reads as a string, whatever is in it: JSON's strings are YAML's.
func quote(s string) (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}

// Write gives one file that is good for `envoy -c` and for `sluice-proxy -c`.
func Write(o Options) ([]byte, error) {
	server, err := endpoint("server", o.Server)
	if err != nil {
		return nil, err
	}
	values := map[string]any{"Options": o, "Server": server}
	if o.Admin != "" {
		if values["Admin"], err = endpoint("admin", o.Admin); err != nil {
			return nil, err
		}
	}
	switch {
	case o.Fleet == "" || o.ID == "":
		return nil, errors.New(`bootstrap: fleet and id: got "", want names`)
	case (o.Certificate == "") != (o.Key == ""):
		return nil, errors.New("bootstrap: certificate and key: got one, want both or neither")
	case o.CA == "" && o.Certificate != "":
		return nil, errors.New("bootstrap: certificate: got no CA with it, want one to verify the control plane")
	case (o.IdentityFile == "") != (o.TrustFile == ""):
		return nil, errors.New("bootstrap: identity and trust files: got one, want both or neither")
	case o.TrustFile != "" && (o.CA != "" || o.Certificate != ""):
		return nil, errors.New("bootstrap: got files of secrets and a CA or a certificate, want the ones or the others")
	}
	var out bytes.Buffer
	if err := file.Execute(&out, values); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	// What is written once lives for years: it must be readable at least here.
	if _, err := Read(out.Bytes()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// host is one address for the template.
type host struct {
	Host string
	Port uint16
	// IP: it is not a name.
	IP bool
}

func endpoint(field, address string) (host, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return host{}, fmt.Errorf("bootstrap: %s: got %q, want host:port", field, address)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || name == "" {
		return host{}, fmt.Errorf("bootstrap: %s: got %q, want host:port", field, address)
	}
	return host{Host: name, Port: uint16(n), IP: net.ParseIP(name) != nil}, nil
}
