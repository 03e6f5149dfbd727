// The server of the experiment that this project began with: HelloService over
// net/rpc, a goroutine for each connection.
package main

import (
	"fmt"
	"log"
	"net"
	"net/rpc"
	"os"
)

type HelloService struct{}

func (p *HelloService) Hello(request string, reply *string) error {
	*reply = "hello:" + request
	return nil
}

func main() {
	address := "127.0.0.1:8848"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if err := rpc.RegisterName("HelloService", new(HelloService)); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go rpc.ServeConn(conn)
	}
}
