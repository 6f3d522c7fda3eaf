package compile

import "strings"

// anyHost is the host that covers all others.
const anyHost = "*"

// covers says whether every name that narrow stands for is one of wide's. "*.x" covers y.x and *.y.x, never x.
func covers(wide, narrow string) bool {
	if wide == anyHost || wide == narrow {
		return true
	}
	suffix, ok := strings.CutPrefix(wide, "*")
	return ok && strings.HasSuffix(narrow, suffix) && len(narrow) > len(suffix)
}

// intersect is what both hosts cover, which is always one of the two or nothing.
func intersect(a, b string) (string, bool) {
	switch {
	case covers(a, b):
		return b, true
	case covers(b, a):
		return a, true
	}
	return "", false
}

// certifies says whether a certificate's name holds for a host that it covers: in a certificate a wildcard stands for one label (RFC
// 6125, 6.4.3). A host that is that very wildcard has names of any depth, of which the certificate is for some.
func certifies(name, host string) bool {
	suffix, wildcard := strings.CutPrefix(name, "*.")
	if !wildcard || host == name {
		return true
	}
	label, rest, _ := strings.Cut(host, ".")
	return label != "*" && rest == suffix
}

// specificity orders hosts that cover one name: exact, then the longer suffix, then "*".
func specificity(host string) int {
	switch {
	case host == anyHost:
		return 0
	case strings.HasPrefix(host, "*."):
		return len(host)
	}
	return 1 << 20
}

// mostSpecific is the one of hosts that covers name and is the most specific; false: none covers it.
func mostSpecific(hosts []string, name string) (best string, ok bool) {
	for _, h := range hosts {
		if covers(h, name) && (!ok || specificity(h) > specificity(best)) {
			best, ok = h, true
		}
	}
	return best, ok
}
