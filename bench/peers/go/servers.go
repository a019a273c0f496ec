// servers.go - twins of examples/echo_server.c and examples/http_hello.c.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
)

func init() {
	works["echo"] = echoWork
	works["http"] = httpWork
}

func listen() net.Listener {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fail("can't listen")
	}
	fmt.Printf("listening on %s\n", listener.Addr())
	return listener
}

func echo(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func echoWork() {
	listener := listen()
	for i := 0; i < arg("loops", 0); i++ {
		go func() {
			for {
			}
		}()
	}
	for {
		c, err := listener.Accept()
		if err != nil {
			fail("accept failed")
		}
		go echo(c)
	}
}

func httpWork() {
	hello := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "hello, world\n")
	}
	http.Serve(listen(), http.HandlerFunc(hello))
}
