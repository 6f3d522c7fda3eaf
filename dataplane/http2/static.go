package http2

// staticFields is the length of HPACK's static table (RFC 7541, appendix A).
const staticFields = 61

// static finds a field in HPACK's static table: the index of its name, or of the whole field. 0 is none.
func static(name, value string) (index uint64, whole bool) {
	n := staticNames[name]
	switch n {
	case 2: // :method
		switch value {
		case "GET":
			return 2, true
		case "POST":
			return 3, true
		}
	case 4: // :path
		switch value {
		case "/":
			return 4, true
		case "/index.html":
			return 5, true
		}
	case 6: // :scheme
		switch value {
		case "http":
			return 6, true
		case "https":
			return 7, true
		}
	case 8: // :status
		switch value {
		case "200":
			return 8, true
		case "204":
			return 9, true
		case "206":
			return 10, true
		case "304":
			return 11, true
		case "400":
			return 12, true
		case "404":
			return 13, true
		case "500":
			return 14, true
		}
	case 16: // accept-encoding
		return 16, value == "gzip, deflate"
	}
	return uint64(n), false
}

// staticNames are the first index of each name.
var staticNames = map[string]uint8{
	":authority": 1, ":method": 2, ":path": 4, ":scheme": 6, ":status": 8, "accept-charset": 15, "accept-encoding": 16,
	"accept-language": 17, "accept-ranges": 18, "accept": 19, "access-control-allow-origin": 20, "age": 21, "allow": 22,
	"authorization": 23, "cache-control": 24, "content-disposition": 25, "content-encoding": 26, "content-language": 27,
	"content-length": 28, "content-location": 29, "content-range": 30, "content-type": 31, "cookie": 32, "date": 33,
	"etag": 34, "expect": 35, "expires": 36, "from": 37, "host": 38, "if-match": 39, "if-modified-since": 40,
	"if-none-match": 41, "if-range": 42, "if-unmodified-since": 43, "last-modified": 44, "link": 45, "location": 46,
	"max-forwards": 47, "proxy-authenticate": 48, "proxy-authorization": 49, "range": 50, "referer": 51, "refresh": 52,
	"retry-after": 53, "server": 54, "set-cookie": 55, "strict-transport-security": 56, "transfer-encoding": 57,
	"user-agent": 58, "vary": 59, "via": 60, "www-authenticate": 61,
}
