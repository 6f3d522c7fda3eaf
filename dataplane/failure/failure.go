// Package failure is the one error type of the request walk: on which side, of which kind, whether it may be retried;
// and from these the status code and the response flag.
//
// It imports nothing of ours.
package failure

import "fmt"

// Side is whose fault it is.
type Side uint8

// The sides.
const (
	Downstream Side = iota
	Upstream
	Proxy
)

// Kind is what went wrong. Flags are Envoy's:
// https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators
type Kind uint8

// The kinds.
const (
	// BadRequest is a request that breaks the protocol: 400.
	BadRequest Kind = iota
	// HeadersTooLarge: 431.
	HeadersTooLarge
	// TargetTooLong is a request's line that is too long: 414.
	TargetTooLong
	// ExpectationFailed is an Expect that nobody knows: 417.
	ExpectationFailed
	// RequestTimeout is a client too slow: 408.
	RequestTimeout
	// ClientGone is a client that went away: nothing is sent.
	ClientGone
	// NoRoute: 404, flag NR.
	NoRoute
	// NoCluster is a route to a cluster that is not there: 503, flag NC.
	NoCluster
	// NoEndpoint is a cluster without endpoints: 503, flag UH.
	NoEndpoint
	// Overflow is a circuit breaker: 503, flag UO.
	Overflow
	// ConnectFailed is a connection that could not be made: 503, flag UF.
	ConnectFailed
	// Reset is an upstream that went away before its answer's head: 503, flag UC.
	Reset
	// BadResponse is an answer that breaks the protocol: 502, flag UPE.
	BadResponse
	// ResponseTimeout is a request that took too long in all: 504, flag UT.
	ResponseTimeout
	// StreamIdle is a whole request whose answer moved no further: 504, flag SI.
	StreamIdle
	// RequestIdle is a request whose body moved no further: 408, flag SI.
	RequestIdle
	// UpgradeRequired is a request in HTTP/1.0 where that is not served: 426.
	UpgradeRequired
	// BadVersion is a version of HTTP that nobody here speaks: 505.
	BadVersion
	// UnknownCoding is a transfer coding other than chunked: 501.
	UnknownCoding
	// UpgradeRefused is a protocol that the route does not switch to: 403.
	UpgradeRefused
	// ConnectTimeout is a connection that took too long to make: 503, flag UF.
	ConnectTimeout
	// Overloaded is too little memory for one more request: 503.
	Overloaded
	// Internal is a fault of ours: 500.
	Internal
	// TryTimeout is a try that took too long: 504, flag UT.
	TryTimeout
)

type row struct {
	side   Side
	status int
	flag   string
	text   string
}

var rows = [...]row{
	BadRequest:        {Downstream, 400, "DPE", "bad request"},
	HeadersTooLarge:   {Downstream, 431, "DPE", "request headers too large"},
	TargetTooLong:     {Downstream, 414, "DPE", "request line too long"},
	ExpectationFailed: {Downstream, 417, "-", "expectation failed"},
	RequestTimeout:    {Downstream, 408, "-", "request timeout"},
	ClientGone:        {Downstream, 0, "DC", "client went away"},
	NoRoute:           {Proxy, 404, "NR", "no route matched"},
	NoCluster:         {Proxy, 503, "NC", "cluster not found"},
	NoEndpoint:        {Proxy, 503, "UH", "no endpoint"},
	Overflow:          {Proxy, 503, "UO", "circuit breaker open"},
	ConnectFailed:     {Upstream, 503, "UF", "connect failed"},
	Reset:             {Upstream, 503, "UC", "upstream closed before its answer"},
	BadResponse:       {Upstream, 502, "UPE", "upstream answer breaks the protocol"},
	ResponseTimeout:   {Upstream, 504, "UT", "upstream response timeout"},
	StreamIdle:        {Proxy, 504, "SI", "stream idle timeout"},
	RequestIdle:       {Downstream, 408, "SI", "request idle timeout"},
	UpgradeRequired:   {Downstream, 426, "DPE", "HTTP version too low"},
	BadVersion:        {Downstream, 505, "DPE", "HTTP version not supported"},
	UnknownCoding:     {Downstream, 501, "DPE", "transfer coding not supported"},
	UpgradeRefused:    {Downstream, 403, "-", "upgrade refused"},
	ConnectTimeout:    {Upstream, 503, "UF", "connect timeout"},
	Internal:          {Proxy, 500, "-", "internal error"},
	Overloaded:        {Proxy, 503, "-", "overload"},
	TryTimeout:        {Upstream, 504, "UT", "upstream per-try timeout"},
}

// Error is a failure of one exchange.
type Error struct {
	Kind Kind
	// Retryable: nothing was sent, or the connection was a reused one and no byte of the answer came.
	Retryable bool
	// Unsent: nothing of the request was sent. Refused: the upstream has said that it has not begun with it. Either way it
	// may be sent again, whatever it asks for.
	Unsent, Refused bool
	// Err is the cause; it may be nil.
	Err error
}

// New wraps a cause.
func New(kind Kind, err error) *Error { return &Error{Kind: kind, Err: err} }

// Newf words a cause.
func Newf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Error is the kind and the cause.
func (e *Error) Error() string {
	if e.Err == nil {
		return rows[e.Kind].text
	}
	return rows[e.Kind].text + ": " + e.Err.Error()
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Side is whose fault it is.
func (e *Error) Side() Side { return rows[e.Kind].side }

// Status is the answer's status code; 0 is no answer.
func (e *Error) Status() int { return rows[e.Kind].status }

// Flag is the response flag for the access log.
func (e *Error) Flag() string { return rows[e.Kind].flag }

// Text is the short text that may be shown to the client.
func (e *Error) Text() string { return rows[e.Kind].text }
