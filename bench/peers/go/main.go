// Go's net/rpc with its default wire, gob, as a peer of the benchmark: a server
// and a client, each in a process of its own.
//
//	peer server
//	peer client STYLE CALLS TASKS SECONDS PORT
//
// Both tell one line of JSON on standard output, and end when standard input does.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// HelloService is what everyone serves.
type HelloService struct{}

// Hello turns "x" into "hello:x".
func (HelloService) Hello(text string, reply *string) error {
	*reply = "hello:" + text
	return nil
}

const method = "HelloService.Hello"

func main() {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if os.Args[1] == "server" {
		serve()
		return
	}
	result, err := run(os.Args[2], number(3), number(4), os.Args[5], os.Args[6])
	if err != nil {
		tell(map[string]any{"fault": err.Error()})
	} else {
		tell(result)
	}
	select {} // Until the parent lets go.
}

func number(i int) int {
	n, err := strconv.Atoi(os.Args[i])
	if err != nil {
		panic(err)
	}
	return n
}

func tell(message any) {
	line, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func serve() {
	if err := rpc.Register(HelloService{}); err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	tell(map[string]any{"port": listener.Addr().(*net.TCPAddr).Port})
	rpc.Accept(listener)
}

func run(style string, calls, tasks int, seconds, port string) (any, error) {
	limit, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return nil, err
	}
	client, err := rpc.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	cpu, began := cpuSeconds(), time.Now()
	done := calls
	switch style {
	case "sync":
		done, err = callOneByOne(client, calls, began.Add(time.Duration(limit*float64(time.Second))))
	case "concurrent":
		err = callFromTasks(client, calls, tasks)
	case "pipeline":
		err = callAhead(client, calls)
	default:
		err = fmt.Errorf("no such style: %s", style)
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"calls":   done,
		"seconds": time.Since(began).Seconds(),
		"cpu":     cpuSeconds() - cpu,
		"peak":    peakMegabytes(),
	}, nil
}

func callOneByOne(client *rpc.Client, calls int, until time.Time) (int, error) {
	for i := 0; i < calls; i++ {
		if err := call(client, i); err != nil {
			return i, err
		}
		if time.Now().After(until) {
			return i + 1, nil
		}
	}
	return calls, nil
}

func callFromTasks(client *rpc.Client, calls, tasks int) error {
	var next int64 = -1
	var group sync.WaitGroup
	errs := make(chan error, tasks)
	for t := 0; t < tasks; t++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := atomic.AddInt64(&next, 1); i < int64(calls); i = atomic.AddInt64(&next, 1) {
				if err := call(client, int(i)); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	group.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

func call(client *rpc.Client, i int) error {
	var reply string
	text := "client " + strconv.Itoa(i)
	if err := client.Call(method, text, &reply); err != nil {
		return err
	}
	return check(text, reply)
}

// callAhead does not wait for replies; they are taken beside. The channel has
// room for all: net/rpc drops what finds none.
func callAhead(client *rpc.Client, calls int) error {
	done := make(chan *rpc.Call, calls)
	go func() {
		for i := 0; i < calls; i++ {
			client.Go(method, "client "+strconv.Itoa(i), new(string), done)
		}
	}()
	for i := 0; i < calls; i++ {
		call := <-done
		if call.Error != nil {
			return call.Error
		}
		if err := check(call.Args.(string), *call.Reply.(*string)); err != nil {
			return err
		}
	}
	return nil
}

func check(text, reply string) error {
	if len(reply) != 6+len(text) || reply[:6] != "hello:" || reply[6:] != text {
		return fmt.Errorf("%q was answered %q", text, reply)
	}
	return nil
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

// peakMegabytes is Linux's own word, where there is one: the peak that rusage
// tells begins with that of whoever started this process.
func peakMegabytes() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(status), "\n") {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
			return kib * 1024 / 1e6
		}
	}
	return 0
}
