package translate

// SessionTickets is the name of the secret with a fleet's session ticket keys.
const SessionTickets = ticketKeysName

// TrustBundle is the name of the secret with a TrustBundle's authorities.
func TrustBundle(name string) string { return trustSecret(name) }
