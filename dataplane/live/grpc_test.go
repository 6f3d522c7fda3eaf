package live

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluice-proxy/sluice/dataplane/config"
)

type text = wrapperspb.StringValue

// shout is a gRPC service written by hand: Once answers one message, Always each of a stream, in upper case.
var shout = grpc.ServiceDesc{
	ServiceName: "test.Shout",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Once", Handler: func(_ any, ctx context.Context, decode func(any) error,
		_ grpc.UnaryServerInterceptor) (any, error) {
		var in text
		if err := decode(&in); err != nil {
			return nil, err
		}
		came, _ := metadata.FromIncomingContext(ctx)
		_ = grpc.SetHeader(ctx, metadata.Pairs("x-head", "h"))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "t", "x-trace-bin", strings.Join(came["x-trace-bin"], "")))
		if in.Value == "" {
			return nil, status.Error(codes.NotFound, "nothing to say: 100 %\n")
		}
		return wrapperspb.String(strings.ToUpper(in.Value)), nil
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Always", ServerStreams: true, ClientStreams: true,
		Handler: func(_ any, s grpc.ServerStream) error {
			for n := 0; ; n++ {
				var in text
				if err := s.RecvMsg(&in); err == io.EOF {
					s.SetTrailer(metadata.Pairs("x-count", fmt.Sprint(n)))
					return status.Error(codes.DataLoss, "the end")
				} else if err != nil {
					return err
				}
				if err := s.SendMsg(wrapperspb.String(strings.ToUpper(in.Value))); err != nil {
					return err
				}
			}
		}}},
}

// TestGRPC: grpc-go's client and server, with the proxy between them.
func TestGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	server.RegisterService(&shout, nil)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() { server.Stop(); <-served })

	r := newRuntime(t)
	c := makeConfig(map[string]config.Endpoint{"grpc": {Address: config.At(l.Addr().(*net.TCPAddr).AddrPort()), Weight: 1}})
	c.Clusters["grpc"].HTTP2 = true
	c.RouteTables["rt"] = table("rt", "grpc")
	c.Listeners["web"] = on("web", "127.0.0.1:0", httpChain("plain", "rt"))
	apply(t, r, c)
	conn, err := grpc.NewClient(r.addressOf(t, "web"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()

	t.Run("unary", func(t *testing.T) {
		var out text
		var head, trailer metadata.MD
		with := metadata.AppendToOutgoingContext(ctx, "x-trace-bin", "\x00\xff")
		if err := conn.Invoke(with, "/test.Shout/Once", wrapperspb.String("hello"), &out, grpc.Header(&head), grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %v %v %q", out.Value, head["x-head"], trailer["x-trailer"], trailer["x-trace-bin"])
		if want := `HELLO [h] [t] ["\x00\xff"]`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
	t.Run("status", func(t *testing.T) {
		var trailer metadata.MD
		err := conn.Invoke(ctx, "/test.Shout/Once", wrapperspb.String(""), new(text), grpc.Trailer(&trailer))
		if s := status.Convert(err); s.Code() != codes.NotFound || s.Message() != "nothing to say: 100 %\n" || len(trailer["x-trailer"]) != 1 {
			t.Error(err, trailer)
		}
	})
	t.Run("trailers only", func(t *testing.T) {
		if err := conn.Invoke(ctx, "/test.Shout/Never", wrapperspb.String(""), new(text)); status.Code(err) != codes.Unimplemented {
			t.Error(err)
		}
	})
	t.Run("stream", func(t *testing.T) {
		stream, err := conn.NewStream(ctx, &shout.Streams[0], "/test.Shout/Always")
		if err != nil {
			t.Fatal(err)
		}
		// Each message waits for its answer: nothing may be held back on the way. Some are larger than every window.
		for i, size := range []int{1, 5, 100, 20000, 3 << 20, 1} {
			if err := stream.SendMsg(wrapperspb.String(strings.Repeat("x", size))); err != nil {
				t.Fatal(err)
			}
			var out text
			if err := stream.RecvMsg(&out); err != nil || len(out.Value) != size {
				t.Fatal(i, len(out.Value), err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		err = stream.RecvMsg(new(text))
		if s := status.Convert(err); s.Code() != codes.DataLoss || s.Message() != "the end" || stream.Trailer()["x-count"][0] != "6" {
			t.Error(err, stream.Trailer())
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		brief, cancel := context.WithCancel(ctx)
		stream, err := conn.NewStream(brief, &shout.Streams[0], "/test.Shout/Always")
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(wrapperspb.String("x")); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(new(text)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := stream.RecvMsg(new(text)); status.Code(err) != codes.Canceled {
			t.Error(err)
		}
	})
}
