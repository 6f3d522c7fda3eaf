// Package handover lets one process take another's place: the new one gets the old one's descriptors over a unix socket,
// says when it is ready, and only then the old one lets go. If the new one fails before, the old one goes on.
//
// In: descriptors, and who is asking. Out: the same descriptors in another process. It must not know what they are, nor
// what is done with them.
//
//	new                             old
//	who am I                 →
//	                         ←      how many descriptors, or a refusal
//	                         ←      a descriptor and its kind, so many times
//	ready                    →
//	                         ←      yours: the old one takes nothing new any more
//
// One message is one datagram (SOCK_SEQPACKET) of JSON. Both sides ask the kernel who the other is (SO_PEERCRED): it must be
// the same user, or root. The socket is for its owner alone (0600).
package handover

import (
	"errors"
	"log/slog"
	"os"
	"syscall"
	"time"
)

const (
	// form is the protocol's version: what differs is refused.
	form = 1
	// maxMessage bounds a message, in bytes; maxDescriptors what is handed over.
	maxMessage     = 4096
	maxDescriptors = 65536
	// answerTime is how long the other side may take for what needs no work; helloTime is for what somebody says who comes.
	answerTime = 10 * time.Second
	helloTime  = time.Second
	// defaultPatience is how long the next process may take to be ready: longer than a configuration takes to warm (15 s).
	defaultPatience = time.Minute
)

// Identity is who a process is for the control plane. Only the same may take its place.
type Identity struct{ Node, Fleet, Version string }

// Descriptor is one that is handed over; Kind is for the other side to know it by.
type Descriptor struct {
	Kind string
	Conn syscall.Conn
}

// Received is a Descriptor on the other side, whose file is the caller's. Its Name is the Kind.
type Received = *os.File

// Options are a Server's.
type Options struct {
	// Path is the socket's.
	Path string
	Me   Identity
	// Descriptors are asked for when somebody comes; done is called when they are sent, or cannot be.
	Descriptors func() (list []Descriptor, done func())
	// Failed is called when somebody who was given them has not taken over.
	Failed func()
	// Yield is called when the next is ready, with its process id (0 if it is not to be seen from here): when it returns this
	// process takes nothing new.
	Yield func(pid int)
	// Patience is how long the next may take to be ready; 0 is a minute.
	Patience time.Duration
	Logger   *slog.Logger
}

// message is all messages: what is empty is left out.
type message struct {
	Form        int    `json:"form"`
	Node        string `json:"node,omitempty"`
	Fleet       string `json:"fleet,omitempty"`
	Version     string `json:"version,omitempty"`
	Refused     string `json:"refused,omitempty"`
	Descriptors int    `json:"descriptors,omitempty"`
	Kind        string `json:"kind,omitempty"`
	Ready       bool   `json:"ready,omitempty"`
	Yours       bool   `json:"yours,omitempty"`
}

// ErrGone is Take's: the process before is gone, so that there is nobody to wait for.
var ErrGone = errors.New("handover: the process before is gone")
