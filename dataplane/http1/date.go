package http1

import (
	"net/http"
	"sync/atomic"
	"time"
)

type dateText struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[dateText]

// Date is the time now for a Date field (RFC 9110, 5.6.7). It is made once a second.
func Date() string {
	now := time.Now()
	if last := lastDate.Load(); last != nil && last.second == now.Unix() {
		return last.text
	}
	d := &dateText{now.Unix(), now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
