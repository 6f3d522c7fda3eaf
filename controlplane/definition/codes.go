package definition

// The codes of problems. They are stable: a code is never given to another fault, and tools may rely on it.
const (
	CodeSyntax             = "SL0001"
	CodeEncoding           = "SL0002"
	CodeTooLarge           = "SL0003"
	CodeTooDeep            = "SL0004"
	CodeDuplicateKey       = "SL0005"
	CodeAnchor             = "SL0006"
	CodeTag                = "SL0007"
	CodeNull               = "SL0008"
	CodeNotADocument       = "SL0009"
	CodeFault              = "SL0010"
	CodeKind               = "SL0101"
	CodeReservedKind       = "SL0102"
	CodeWrongType          = "SL0103"
	CodeWrongNumber        = "SL0104"
	CodeWrongEnum          = "SL0105"
	CodeSpelling           = "SL0106"
	CodeUnknownField       = "SL0107"
	CodeRequired           = "SL0108"
	CodeInvalidValue       = "SL0109"
	CodeExclusive          = "SL0110"
	CodeEmpty              = "SL0111"
	CodeRepeated           = "SL0112"
	CodeDuration           = "SL0113"
	CodePath               = "SL0114"
	CodeURL                = "SL0115"
	CodeUnknownService     = "SL0201"
	CodeUnknownGateway     = "SL0202"
	CodeUnknownListener    = "SL0203"
	CodeUnknownCertificate = "SL0204"
	CodeUnknownTrustBundle = "SL0208"
	CodeDuplicateName      = "SL0301"
	CodePortConflict       = "SL0302"
	CodeHostConflict       = "SL0303"
	CodeZeroWeights        = "SL0304"
	CodeListenerShape      = "SL0305"
	CodeDuplicateRule      = "SL0306"
	CodeBadAddress         = "SL0307"
	CodeMissingFile        = "SL0401"
	CodeBadCertificate     = "SL0402"
	CodeKeyMismatch        = "SL0403"
	CodeTestFailed         = "SL0501"
	CodeUnreachableRule    = "SL0601"
	CodeOverlap            = "SL0602"
	CodeUnusedService      = "SL0603"
	CodeCertificateExpired = "SL0604"
	CodeIdleListener       = "SL0605"
	CodeNameFails          = "SL0606"
	CodeUndone             = "SL0607"
	CodeHostTwice          = "SL0608"
	CodeUncoveredHost      = "SL0609"
	CodeRefused            = "SL0701"
	CodeUnsupported        = "SL0703"
	CodeLacking            = "SL0704"
)

// Code explains one code in a line.
type Code struct{ Code, Text string }

// Codes is the table of all codes, in order.
var Codes = []Code{
	{CodeSyntax, "The text is not YAML or JSON."},
	{CodeEncoding, "The file is not UTF-8."},
	{CodeTooLarge, "The document is larger than 1 MiB, or the file than 64 MiB."},
	{CodeTooDeep, "The document nests deeper than 64 levels."},
	{CodeDuplicateKey, "A key stands twice in one mapping."},
	{CodeAnchor, "Anchors, aliases and merge keys are not part of the language."},
	{CodeTag, "YAML tags and directives are not part of the language."},
	{CodeNull, "A field is written without a value; leave it out instead."},
	{CodeNotADocument, "A document is a mapping that begins with kind and name."},
	{CodeFault, "Sluice failed at this document, which is a fault of ours: please report it."},
	{CodeKind, "The kind is missing or unknown."},
	{CodeReservedKind, "The kind is reserved for a later version."},
	{CodeWrongType, "A value of one type stands where another is wanted: text, number, list, mapping."},
	{CodeWrongNumber, "A number is misspelt or out of its type's range."},
	{CodeWrongEnum, "A word is not one of those that the field takes."},
	{CodeSpelling, "A field is spelt in another case: names are camelCase."},
	{CodeUnknownField, "The field does not exist."},
	{CodeRequired, "A field that must be written is missing."},
	{CodeInvalidValue, "The value breaks the field's rule."},
	{CodeExclusive, "Fields that exclude each other are both written, or none of them is."},
	{CodeEmpty, "A field is written with nothing in it; leave it out for the default."},
	{CodeRepeated, "A value stands twice in a list."},
	{CodeDuration, "The duration is out of range."},
	{CodePath, "No request can have such a path: paths are normalized before they are matched."},
	{CodeURL, "The URL is not an absolute http or https URL."},
	{CodeUnknownService, "No Service of this name is defined."},
	{CodeUnknownGateway, "No Gateway of this name is defined."},
	{CodeUnknownListener, "The Gateway has no listener of this name that a Route can join."},
	{CodeUnknownCertificate, "No Certificate of this name is defined."},
	{CodeUnknownTrustBundle, "No TrustBundle of this name is defined."},
	{CodeDuplicateName, "Two documents of one kind, or two listeners of one Gateway, have one name."},
	{CodePortConflict, "Two listeners of one fleet want the same socket."},
	{CodeHostConflict, "Two HTTPS or TLS listeners on one socket have overlapping hosts."},
	{CodeZeroWeights, "All backends have the weight 0: no request could be answered."},
	{CodeListenerShape, "The listener has fields that its protocol does not take, or lacks some that it needs."},
	{CodeDuplicateRule, "Two rules of one Route have one name."},
	{CodeBadAddress, "The address is not IP:port, or not an IP address."},
	{CodeMissingFile, "A file cannot be read."},
	{CodeBadCertificate, "The certificate, the key or the TrustBundle cannot be parsed."},
	{CodeKeyMismatch, "The private key does not belong to the certificate."},
	{CodeTestFailed, "A Test does not hold."},
	{CodeUnreachableRule, "The rule can never match: an earlier one takes all of its requests."},
	{CodeOverlap, "Two Routes share a host at one priority: their names decide which is asked first."},
	{CodeUnusedService, "No Route and no listener uses the Service."},
	{CodeCertificateExpired, "The certificate has expired, or is not valid yet."},
	{CodeIdleListener, "No Route joins the listener: it answers 404 to everything."},
	{CodeNameFails, "A name that the control plane looks up does not resolve, or not all that it names does; the last servers are kept."},
	{CodeUndone, "An undo holds the document back: an earlier version of it is served."},
	{CodeHostTwice, "A host that one document serves is served by another one, too, from now on; told by plan alone."},
	{CodeUncoveredHost, "No certificate of an HTTPS listener covers one of its hosts."},
	{CodeRefused, "Proxies refuse what comes of the document, or of its deletion."},
	{CodeUnsupported, "The document brings what proxies of its fleet, by their own word, do not support."},
	{CodeLacking, "A proxy joined, or came back, that does not support what its fleet runs."},
}

// Explain is the line of the table for a code; "" for an unknown one.
func Explain(code string) string {
	for _, c := range Codes {
		if c.Code == code {
			return c.Text
		}
	}
	return ""
}
