package operator

import (
	"fmt"
	"strings"
)

// timeLayout turns strftime's specifiers into Go's. Empty is Envoy's default, ISO 8601 with milliseconds.
func timeLayout(strftime string) (string, error) {
	if strftime == "" {
		return "2006-01-02T15:04:05.000Z07:00", nil
	}
	specifiers := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'T': "15:04:05", 'F': "2006-01-02",
		'b': "Jan", 'z': "-0700", 'Z': "MST", 'y': "06", 'e': "_2", 'p': "PM", 'I': "03", 'a': "Mon",
	}
	var out strings.Builder
	for i := 0; i < len(strftime); i++ {
		c := strftime[i]
		if c != '%' {
			out.WriteByte(c)
			continue
		}
		i++
		// %3f and its like are digits of the second's fraction.
		if i+1 < len(strftime) && strftime[i] >= '1' && strftime[i] <= '9' && strftime[i+1] == 'f' {
			// Go's layout needs a '.' or ',' before the zeros; Envoy's formats have one.
			out.WriteString(strings.Repeat("0", int(strftime[i]-'0')))
			i++
			continue
		}
		if i == len(strftime) || specifiers[strftime[i]] == "" {
			return "", fmt.Errorf("got the time format %q: %%%s is not supported", strftime, strftime[min(i, len(strftime)):min(i+1, len(strftime))])
		}
		out.WriteString(specifiers[strftime[i]])
	}
	return out.String(), nil
}
