package store

import (
	"bytes"
	"fmt"

	"github.com/sluice-proxy/sluice/controlplane/compile"
	"github.com/sluice-proxy/sluice/controlplane/definition"
)

// trustPrefix is of the names under which TrustBundles are kept among the Certificates.
const trustPrefix = "TrustBundle/"

// authorities gets the bytes of a TrustBundle. Where they are bad, the last good ones come with the error.
func (c *Certificates) authorities(d *definition.Document) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := trustPrefix + d.Ref.Name
	old := c.good[name]
	text, err := readAuthorities(d)
	if err != nil {
		return old.Authorities, err
	}
	if !bytes.Equal(old.Authorities, text) {
		c.good[name] = certificate{Authorities: text}
		c.dirty = true
	}
	return text, nil
}

// readAuthorities joins the files of a TrustBundle.
func readAuthorities(d *definition.Document) ([]byte, error) {
	var all []byte
	for i, path := range certificateFiles(d) {
		field := fmt.Sprintf("files[%d]", i)
		text, err := readPEM(path)
		if err != nil {
			return nil, &compile.CertificateError{Code: definition.CodeMissingFile, Field: field, Err: err}
		}
		if _, err := compile.CheckAuthorities(text); err != nil {
			return nil, &compile.CertificateError{Code: definition.CodeBadCertificate, Field: field, Err: err}
		}
		all = append(all, text...)
		if all[len(all)-1] != '\n' {
			all = append(all, '\n')
		}
	}
	if len(all) > maxPEM {
		return nil, &compile.CertificateError{Code: definition.CodeBadCertificate, Field: "files", Err: fmt.Errorf("got %d bytes in all, want at most %d", len(all), maxPEM)}
	}
	return all, nil
}
