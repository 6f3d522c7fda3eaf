// profiled is our control plane with profiles of CPU and memory, which the real one gives on no port.
//
// In: a folder of definitions, an address for xDS, one for health; beside the latter POST /profile/start takes a path,
// POST /profile/stop ends the profile there, POST /profile/heap writes a profile of live memory to a path, and POST /profile/free collects garbage and gives back what is free. Out: as
// sluice controlplane. It is for finding out where time and memory go, and not for figures beside others'.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"syscall"

	"github.com/sluice-proxy/sluice/controlplane"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "profiled:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("got %q, want a folder, an address for xDS, one for health and profiles", args)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	state, err := os.MkdirTemp("", "sluice-profiled-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	controlplane.SpareMemory()
	return controlplane.Run(ctx, controlplane.Options{
		Paths: []string{args[0]}, Listen: args[1], StateDir: state,
		Ready: func(net.Addr, net.Addr) {
			// As a server's /readyz: it answers when all is ready.
			http.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
			http.HandleFunc("POST /profile/start", begin)
			http.HandleFunc("POST /profile/stop", func(http.ResponseWriter, *http.Request) { pprof.StopCPUProfile() })
			http.HandleFunc("POST /profile/heap", heap)
			http.HandleFunc("POST /profile/free", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
			go func() { fmt.Fprintln(os.Stderr, http.ListenAndServe(args[2], nil)) }()
		},
	})
}

// begin begins a profile, which goes to the file that the body names. Whoever asks may write any file: that is no server
// for anybody else.
func begin(w http.ResponseWriter, r *http.Request) {
	f, err := file(r)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	answer(w, err)
}

// heap writes what is in use, and the kinds of goroutines beside it, in a text.
func heap(w http.ResponseWriter, r *http.Request) {
	f, err := file(r)
	if err == nil {
		debug.FreeOSMemory()
		err = errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
	}
	if err == nil {
		var text *os.File
		if text, err = os.Create(f.Name() + ".txt"); err == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			_, err = fmt.Fprintf(text, "heap %d of %d idle %d released %d stacks %d system %d\n",
				m.HeapAlloc, m.HeapInuse, m.HeapIdle, m.HeapReleased, m.StackInuse, m.Sys)
			err = errors.Join(err, pprof.Lookup("goroutine").WriteTo(text, 1), text.Close())
		}
	}
	answer(w, err)
}

func file(r *http.Request) (*os.File, error) {
	path, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return os.Create(string(path))
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
