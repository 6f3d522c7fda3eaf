package listener

import "golang.org/x/sys/unix"

// newcomers is a program for a socket's filter, which sees segments from their TCP header on: those that open a connection
// (SYN without ACK) are dropped, all others pass.
var newcomers = [...]unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},           // the flags (RFC 9293, 3.1)
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0x02 | 0x10}, // SYN and ACK of them
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0x02, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
}

// lastClient lets nobody new into a socket's queue. Who comes now hears nothing, and knocks again in a second: then whoever
// has the address by that time answers, or nobody does. Without it, a client that comes between our last accept and our
// close would be told that it is connected, and then be reset.
func lastClient(l acceptor) {
	if l.Addr().Network() == "unix" {
		return // its file is gone: nobody new can come, but by an abstract name
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return // it is closed
	}
	_ = raw.Control(func(fd uintptr) {
		// A system that does not let us closes as well as it can.
		_ = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(newcomers)), Filter: &newcomers[0]})
	})
}
