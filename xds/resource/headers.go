package resource

// FramesMessage tells the header names, in lower case, that say where a message ends, for whom it is, or what its
// connection does: a route that changed them would make another message of it. Codecs write them by themselves.
func FramesMessage(name string) bool {
	switch name {
	case "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade", "te",
		"trailer", "expect":
		return true
	}
	return false
}
