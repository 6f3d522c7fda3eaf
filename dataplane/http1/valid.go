package http1

// ValidTarget tells whether a string may be a request's path and query: visible ASCII without '#' (RFC 9112, 3.2).
func ValidTarget(s string) bool { return s != "" && all(s, classTarget) }

// ValidAuthority tells whether a string may be a request's authority: host [ ":" port ], without user information
// (RFC 9110, 4.2.4 and 7.2).
func ValidAuthority(s string) bool { return validAuthority(s) }
