package certs

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

var subjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// uris are the URIs that a certificate is for, as they stand in it: package url may write them otherwise.
func uris(c *x509.Certificate) []string {
	if len(c.URIs) == 0 {
		return nil
	}
	var all []string
	for _, e := range c.Extensions {
		if !e.Id.Equal(subjectAltName) {
			continue
		}
		var names []asn1.RawValue
		if _, err := asn1.Unmarshal(e.Value, &names); err != nil {
			return nil // x509 has read it before
		}
		for _, n := range names {
			if n.Class == asn1.ClassContextSpecific && n.Tag == 6 { // RFC 5280, 4.2.1.6: uniformResourceIdentifier
				all = append(all, string(n.Bytes))
			}
		}
	}
	return all
}

// Forwarded is what X-Forwarded-Client-Cert says of a client's certificate, as Envoy writes it. own, which may be nil, is the one
// that was presented to it.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers#x-forwarded-client-cert
func Forwarded(client, own *x509.Certificate, what config.ForwardClient) string {
	var parts []string
	if own != nil {
		for _, u := range uris(own) {
			parts = append(parts, "By="+u)
		}
	}
	digest := sha256.Sum256(client.Raw)
	parts = append(parts, "Hash="+hex.EncodeToString(digest[:]))
	if what.Subject {
		parts = append(parts, `Subject="`+subject(client)+`"`)
	}
	if what.URI {
		all := uris(client)
		for _, u := range all {
			parts = append(parts, "URI="+u)
		}
		if len(all) == 0 {
			parts = append(parts, "URI=")
		}
	}
	if what.DNS {
		for _, n := range client.DNSNames {
			parts = append(parts, "DNS="+n)
		}
	}
	return strings.Join(parts, ";")
}

// shortNames are OpenSSL's, which Envoy writes.
var shortNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.17": "postalCode", "2.5.4.42": "GN",
	"1.2.840.113549.1.9.1": "emailAddress", "0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC",
}

// attributes are a relative distinguished name as it stands in a certificate; package asn1 reads a SET by the type's name.
type attributesSET []struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// subject is RFC 2253's text of the subject as OpenSSL writes it: the last part first, special characters and bytes beyond
// ASCII escaped, and what it has no name for in hexadecimal.
func subject(c *x509.Certificate) string {
	var names []attributesSET
	if _, err := asn1.Unmarshal(c.RawSubject, &names); err != nil {
		return "" // x509 has read it before
	}
	var b strings.Builder
	for _, name := range slices.Backward(names) {
		for i, attribute := range slices.Backward(name) {
			switch {
			case i < len(name)-1:
				b.WriteByte('+')
			case b.Len() > 0:
				b.WriteByte(',')
			}
			short := shortNames[attribute.Type.String()]
			var value any
			_, err := asn1.Unmarshal(attribute.Value.FullBytes, &value)
			text, readable := value.(string)
			if short == "" || err != nil || !readable {
				fmt.Fprintf(&b, "%s=#%X", cmp.Or(short, attribute.Type.String()), attribute.Value.FullBytes)
				continue
			}
			b.WriteString(short + "=")
			escape(&b, text)
		}
	}
	return b.String()
}

// escape is RFC 2253, 2.4.
func escape(b *strings.Builder, value string) {
	for i := range len(value) {
		switch c := value[i]; {
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(b, "\\%02X", c)
		case strings.IndexByte(`,+"\<>;`, c) >= 0, c == '#' && i == 0, c == ' ' && (i == 0 || i == len(value)-1):
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
}
