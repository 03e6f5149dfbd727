// Serves the zoo and arithmetic: zoo_server gob|json|http
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"

	"interop/zoo"
)

func main() {
	for _, service := range []interface{}{new(zoo.Zoo), new(zoo.Arith), new(zoo.Shapes)} {
		if err := rpc.Register(service); err != nil {
			log.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	if os.Args[1] == "http" {
		rpc.HandleHTTP()
		log.Fatal(http.Serve(listener, nil))
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		if os.Args[1] == "json" {
			go jsonrpc.ServeConn(conn)
		} else {
			go rpc.ServeConn(conn)
		}
	}
}
