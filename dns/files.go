package dns

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxFile is how much of a system's file is read, in bytes.
const maxFile = 4 << 20

func readLines(path string) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, maxFile))
	return strings.Split(string(text), "\n")
}

// readHosts are the addresses of a name (in lower case) in a file such as /etc/hosts (hosts(5)).
func readHosts(path, name string) []netip.Addr {
	var out []netip.Addr
	for _, line := range readLines(path) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		for i := 1; i < len(words); i++ {
			if strings.EqualFold(strings.TrimSuffix(words[i], "."), name) {
				if ip, err := netip.ParseAddr(words[0]); err == nil && len(out) < maxRecords {
					out = append(out, ip)
				}
				break
			}
		}
	}
	return out
}

// resolvConf is what resolv.conf(5) says, or its defaults. It is read anew for each lookup: it may change.
type resolvConf struct {
	// servers are addresses with ports.
	servers  []string
	search   []string
	ndots    int
	attempts int
	timeout  time.Duration
}

// The bounds of resolv.conf(5).
const maxServers, maxSearch, maxNdots, maxTimeout, maxAttempts = 3, 6, 15, 30, 5

func readResolvConf(path string) *resolvConf {
	c := &resolvConf{ndots: 1, attempts: 2, timeout: 5 * time.Second}
	for _, line := range readLines(path) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0][0] == '#' || words[0][0] == ';' {
			continue
		}
		switch words[0] {
		case "nameserver":
			if ip, err := netip.ParseAddr(words[1]); err == nil && len(c.servers) < maxServers {
				c.servers = append(c.servers, net.JoinHostPort(ip.String(), "53"))
			}
		case "domain":
			c.search = words[1:2]
		case "search":
			c.search = words[1:min(len(words), maxSearch+1)]
		case "options":
			for _, option := range words[1:] {
				key, value, _ := strings.Cut(option, ":")
				n, err := strconv.Atoi(value)
				switch {
				case err != nil || n < 0:
				case key == "ndots":
					c.ndots = min(n, maxNdots)
				case key == "timeout":
					c.timeout = time.Duration(min(max(n, 1), maxTimeout)) * time.Second
				case key == "attempts":
					c.attempts = min(max(n, 1), maxAttempts)
				}
			}
		}
	}
	if len(c.servers) == 0 {
		c.servers = []string{"127.0.0.1:53", "[::1]:53"}
	}
	return c
}

// names are what is asked for, in order: a name with few dots first within the search domains.
func (c *resolvConf) names(host string) []string {
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	var within []string
	for _, domain := range c.search {
		if domain = strings.TrimSuffix(domain, "."); domain != "" {
			within = append(within, host+"."+domain+".")
		}
	}
	if strings.Count(host, ".") >= c.ndots {
		return append([]string{host + "."}, within...)
	}
	return append(within, host+".")
}
