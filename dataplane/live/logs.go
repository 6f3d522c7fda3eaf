package live

import (
	"encoding/json"
	"sync"

	"github.com/sluice-proxy/sluice/dataplane/accesslog"
	"github.com/sluice-proxy/sluice/dataplane/config"
)

// logs keeps one Logger for each distinct sink, for as long as a chain holds it: a chain that drains still writes.
type logs struct {
	mu sync.Mutex
	// open is guarded by mu; the key is the sink's JSON, whose maps are in order.
	open map[string]*openLog
}

type openLog struct {
	logger *accesslog.Logger
	users  int
}

// acquire opens the sinks, or joins who has opened them. release gives them back; the last one closes.
func (l *logs) acquire(sinks []*config.AccessLog) (loggers []*accesslog.Logger, release func(), err error) {
	var keys []string
	release = sync.OnceFunc(func() { l.release(keys) })
	for _, sink := range sinks {
		key, logger, err := l.join(sink)
		if err != nil {
			release()
			return nil, nil, err
		}
		keys = append(keys, key)
		loggers = append(loggers, logger)
	}
	return loggers, release, nil
}

func (l *logs) join(sink *config.AccessLog) (key string, logger *accesslog.Logger, err error) {
	encoded, err := json.Marshal(sink)
	if err != nil {
		return "", nil, err
	}
	key = string(encoded)
	l.mu.Lock()
	defer l.mu.Unlock()
	entry := l.open[key]
	if entry == nil {
		logger, err := accesslog.New(sink)
		if err != nil {
			return "", nil, err
		}
		entry = &openLog{logger: logger}
		if l.open == nil {
			l.open = map[string]*openLog{}
		}
		l.open[key] = entry
	}
	entry.users++
	return key, entry.logger, nil
}

func (l *logs) release(keys []string) {
	var last []*accesslog.Logger
	l.mu.Lock()
	for _, key := range keys {
		entry := l.open[key]
		if entry.users--; entry.users == 0 {
			delete(l.open, key)
			last = append(last, entry.logger)
		}
	}
	l.mu.Unlock()
	// It waits for the disk.
	for _, logger := range last {
		logger.Close()
	}
}
