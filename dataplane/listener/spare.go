package listener

import (
	"os"

	"golang.org/x/sys/unix"
)

// spare is a descriptor held back for the moment when there is no other: with it a connection that waits can be accepted
// and closed, so that its client hears of it, and does not wait in the kernel's queue for as long as the lack lasts.
type spare struct{ file *os.File }

func (s *spare) open() {
	if s.file == nil {
		s.file, _ = os.Open(os.DevNull) // without it, shed says that it cannot
	}
}

func (s *spare) close() {
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
}

// shed refuses the connection that has waited longest; false if there is none, or no descriptor for it.
func (s *spare) shed(l acceptor) bool {
	if s.file == nil {
		s.open()
		return false
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	s.close()
	defer s.open()
	done := false
	_ = raw.Control(func(fd uintptr) {
		// Not Accept, which would wait if the client has gone. The descriptor is closed at once: it needs no flags.
		conn, _, err := unix.Accept(int(fd))
		if err == nil {
			done = unix.Close(conn) == nil
		}
	})
	return done
}
