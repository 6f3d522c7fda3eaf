package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// line is the connection between the two.
type line struct{ conn *net.UnixConn }

// trusted asks the kernel who the other side is: our own user, or root. Its process id is 0 where it is not to be seen.
func (l *line) trusted() (pid int, err error) {
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var who *unix.Ucred
	if control := raw.Control(func(fd uintptr) { who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); control != nil {
		return 0, control
	}
	if err != nil {
		return 0, os.NewSyscallError("SO_PEERCRED", err)
	}
	if me := os.Geteuid(); int(who.Uid) != me && who.Uid != 0 {
		return int(who.Pid), fmt.Errorf("the other side is user %d, want %d or root", who.Uid, me)
	}
	return int(who.Pid), nil
}

// send sends a message, with a descriptor if there is one.
func (l *line) send(m *message, with syscall.Conn) error {
	m.Form = form
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(text) > maxMessage {
		return fmt.Errorf("a message of %d bytes, want %d at most", len(text), maxMessage)
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	if with == nil {
		_, err = l.conn.Write(text)
		return err
	}
	raw, err := with.SyscallConn()
	if err != nil {
		return err
	}
	// The descriptor stays open as long as Control runs.
	control := raw.Control(func(fd uintptr) { _, _, err = l.conn.WriteMsgUnix(text, unix.UnixRights(int(fd)), nil) })
	return errors.Join(control, err)
}

// receive waits for a message, at most so long (0: for ever). io.EOF is that the other side is gone. A descriptor that came is the
// caller's.
func (l *line) receive(patience time.Duration) (m *message, file *os.File, err error) {
	if patience > 0 {
		if err := l.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return nil, nil, err
		}
	}
	text := make([]byte, maxMessage)
	// Room for more than one descriptor, so that none is lost unclosed.
	rights := make([]byte, unix.CmsgSpace(4*4))
	n, rn, flags, _, err := l.conn.ReadMsgUnix(text, rights)
	if err != nil {
		return nil, nil, err
	}
	descriptors, err := parse(rights[:rn])
	defer func() {
		if err != nil {
			for _, fd := range descriptors {
				_ = unix.Close(fd)
			}
		}
	}()
	switch {
	case err != nil:
		return nil, nil, err
	case n == 0:
		return nil, nil, io.EOF
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(descriptors) > 1:
		return nil, nil, errors.New("got a message that is too long")
	}
	m = &message{}
	if err = json.Unmarshal(text[:n], m); err != nil {
		return nil, nil, err
	}
	if m.Form != form {
		return nil, nil, fmt.Errorf("got form %d of the protocol, want %d", m.Form, form)
	}
	if len(descriptors) == 1 {
		file = os.NewFile(uintptr(descriptors[0]), m.Kind)
	}
	return m, file, nil
}

// parse finds the descriptors in a control message. Go has set them to be closed on exec.
func parse(rights []byte) (descriptors []int, err error) {
	if len(rights) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		some, failed := unix.ParseUnixRights(&messages[i])
		descriptors, err = append(descriptors, some...), errors.Join(err, failed)
	}
	return descriptors, err
}
