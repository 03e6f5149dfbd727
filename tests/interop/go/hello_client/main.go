// The three clients of that experiment, each on one connection: sync waits for
// every reply, pipeline sends as fast as it can, concurrent has a goroutine for
// each call.
//
//	hello_client STYLE ADDRESS [CALLS]
package main

import (
	"fmt"
	"log"
	"net/rpc"
	"os"
	"strconv"
	"sync"
	"time"
)

func check(request, reply string, err error) {
	if err != nil {
		log.Fatal(err)
	}
	if reply != "hello:"+request {
		log.Fatalf("%q was answered with %q", request, reply)
	}
}

func sync_(client *rpc.Client, calls int) {
	for i := 0; i < calls; i++ {
		request := "client " + strconv.Itoa(i)
		var reply string
		err := client.Call("HelloService.Hello", request, &reply)
		check(request, reply, err)
	}
}

func pipeline(client *rpc.Client, calls int) {
	var wait sync.WaitGroup
	for i := 0; i < calls; i++ {
		request := "client " + strconv.Itoa(i)
		call := client.Go("HelloService.Hello", request, new(string), nil)
		wait.Add(1)
		go func() {
			defer wait.Done()
			done := <-call.Done
			check(request, *done.Reply.(*string), done.Error)
		}()
	}
	wait.Wait()
}

func concurrent(client *rpc.Client, calls int) {
	var wait sync.WaitGroup
	for i := 0; i < calls; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			request := "client " + strconv.Itoa(i)
			var reply string
			err := client.Call("HelloService.Hello", request, &reply)
			check(request, reply, err)
		}(i)
	}
	wait.Wait()
}

func main() {
	styles := map[string]func(*rpc.Client, int){
		"sync": sync_, "pipeline": pipeline, "concurrent": concurrent,
	}
	if len(os.Args) < 3 || styles[os.Args[1]] == nil {
		log.Fatal("usage: hello_client sync|pipeline|concurrent ADDRESS [CALLS]")
	}
	calls := 524288
	if len(os.Args) > 3 {
		n, err := strconv.Atoi(os.Args[3])
		if err != nil {
			log.Fatal(err)
		}
		calls = n
	}
	client, err := rpc.Dial("tcp", os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	began := time.Now()
	styles[os.Args[1]](client, calls)
	seconds := time.Since(began).Seconds()
	fmt.Printf("%s: %d calls, %.0f calls/s\n", os.Args[1], calls, float64(calls)/seconds)
	client.Close()
}
