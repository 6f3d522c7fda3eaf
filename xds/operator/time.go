package operator

import (
	"fmt"
	"strings"
	"time"
)

// specifiers are strftime's, in Go's layouts.
var specifiers = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'T': "15:04:05", 'F': "2006-01-02",
	'b': "Jan", 'z': "-0700", 'Z': "MST", 'y': "06", 'e': "_2", 'p': "PM", 'I': "03", 'a': "Mon",
}

// timeLayout turns strftime's specifiers into Go's. Empty is Envoy's default, ISO 8601 with milliseconds.
func timeLayout(strftime string) (string, error) {
	if strftime == "" {
		return "2006-01-02T15:04:05.000Z07:00", nil
	}
	var layout strings.Builder
	var want [len(samples)]strings.Builder
	for i := 0; i < len(strftime); i++ {
		c := strftime[i]
		if c != '%' {
			layout.WriteByte(c)
			for j := range want {
				want[j].WriteByte(c)
			}
			continue
		}
		i++
		// %3f and its like are digits of the second's fraction.
		if i+1 < len(strftime) && strftime[i] >= '1' && strftime[i] <= '9' && strftime[i+1] == 'f' {
			digits := int(strftime[i] - '0')
			layout.WriteString(strings.Repeat("0", digits))
			for j, t := range samples {
				want[j].WriteString(fmt.Sprintf("%09d", t.Nanosecond())[:digits])
			}
			i++
			continue
		}
		if i == len(strftime) || specifiers[strftime[i]] == "" {
			return "", fmt.Errorf("got the time format %q: %%%s is not supported", strftime, strftime[min(i, len(strftime)):min(i+1, len(strftime))])
		}
		layout.WriteString(specifiers[strftime[i]])
		for j, t := range samples {
			want[j].WriteString(t.Format(specifiers[strftime[i]]))
		}
	}
	for j, t := range samples {
		if got := t.Format(layout.String()); got != want[j].String() {
			return "", fmt.Errorf("got the time format %q: text beside the specifiers that looks like a time is not supported, nor a fraction of seconds without a '.' before it: at %s it would be %q, and not %q",
				strftime, t.Format(time.DateTime), got, want[j].String())
		}
	}
	return layout.String(), nil
}

// samples are two times of which no part is the same, nor what it is in a layout. Go has no way to write a text in a layout that
// is one of its own parts, such as "2006", "3" or "pm"; a format with such a text is found by what becomes of it.
var samples = [...]time.Time{
	time.Date(1987, 11, 23, 17, 48, 39, 123456789, time.UTC),
	time.Date(2094, 12, 14, 9, 27, 51, 987654321, time.UTC),
}
