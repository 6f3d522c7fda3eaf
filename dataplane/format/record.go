package format

import (
	"net/netip"
	"time"

	"github.com/sluice-proxy/sluice/dataplane/message"
)

// Record is one exchange. Strings may point into pooled buffers: who formats does so before the exchange ends.
type Record struct {
	Start    time.Time
	Duration time.Duration
	// Request and Response are the heads as the client sent and got them; nil for TCP.
	Request  *message.Request
	Response *message.Response
	// Status is the answer's status; 0 if none was sent.
	Status int
	// Attempts is how often the request was sent; 0 if it was not.
	Attempts int
	// Flags are Envoy's response flags, "" is "-".
	Flags string
	// Details is a short reason, such as a failure's text.
	Details string
	// BytesReceived and BytesSent are of bodies (HTTP) or of the connection (TCP).
	BytesReceived, BytesSent int64
	// Route is the rule's identity, Cluster the chosen cluster, Upstream its address; each may be empty.
	Route, Cluster, Upstream string
	// UpstreamDuration is from the request's end upstream to the answer's head; 0 if there was none.
	UpstreamDuration time.Duration
	RequestID        string
	// Remote is the client, as trusted (X-Forwarded-For); Peer is the connection's other end; Local is ours.
	Remote, Peer, Local netip.AddrPort
	// Socket is the path of the unix socket that the client has connected to: it stands for those addresses that are not
	// there, as with Envoy.
	Socket string
	// Listener and Chain are names of the configuration.
	Listener, Chain string
	// SNI and TLSVersion ("TLSv1.3") are empty in plaintext.
	SNI, TLSVersion string
}
