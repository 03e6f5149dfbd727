// Calls arithmetic, wrong methods and (over gob) the zoo, and prints a line for
// each: what came back, or the error as Go tells it.
//
//	zoo_client gob|json|http ADDRESS [SEEDS|odd]
package main

import (
	"fmt"
	"log"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"strconv"
	"strings"

	"interop/zoo"
)

func dial(wire, address string) (*rpc.Client, error) {
	switch wire {
	case "json":
		return jsonrpc.Dial("tcp", address)
	case "http":
		return rpc.DialHTTP("tcp", address)
	default:
		return rpc.Dial("tcp", address)
	}
}

func main() {
	wire := os.Args[1]
	client, err := dial(wire, os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	show := func(method string, args, reply interface{}) {
		if err := client.Call(method, args, reply); err != nil {
			fmt.Printf("%q error %T %q\n", method, err, err)
			return
		}
		switch r := reply.(type) {
		case *int:
			fmt.Println(method, *r)
		case *float64:
			fmt.Println(method, *r)
		case *string:
			fmt.Println(method, *r)
		default:
			fmt.Printf("%s %+v\n", method, r)
		}
	}
	if len(os.Args) > 3 && os.Args[3] == "odd" {
		show("Odd.Null", 1, new(string))
		show("Odd.NaN", 1, new(string))
		show("Odd.Nothing", 1, new(struct{}))
		show("Odd.Take", strings.Repeat("x", 1<<20), new(int))
		show("Odd.Take", "x", new(int))
		return
	}
	show("Arith.Multiply", zoo.Args{A: 7, B: 8}, new(int))
	show("Arith.Multiply", &zoo.Args{A: 0, B: 8}, new(int))
	show("Arith.Divide", zoo.Args{A: 17, B: 5}, new(zoo.Quotient))
	show("Arith.Divide", zoo.Args{A: 17}, new(zoo.Quotient))
	show("Arith.Sum", []float64{1, 2, 0.5}, new(float64))
	show("Arith.Sum", []float64{1, 2}, new(float64))
	show("Arith.Count", []string{"a", "b", "a"}, &map[string]int{})
	show("Arith.Describe", map[string]zoo.Point{"a": {X: 1, Y: 2}}, new(string))
	show("Arith.Nothing", struct{}{}, new(struct{}))
	show("Arith.Fail", "bad input", new(string))
	show("Arith.Fail", "quote \" \u00e9 \u4e16", new(string))
	show("Arith.Absent", 1, new(int))
	show("Absent.Multiply", 1, new(int))
	show("a.b.Multiply", 1, new(int))
	show("Multiply", 1, new(int))
	show("", 1, new(int))
	if wire != "json" {
		// Not those whose error names a Go package, or a type of more than one part:
		// Go itself confuses the latter with types of its own.
		show("Arith.Fail", 5, new(string))
		show("Arith.Sum", 1.5, new(float64))
		show("Arith.Sum", []float64{}, new(float64))
		show("Arith.Count", true, &map[string]int{})
		show("Arith.Multiply", zoo.Wrong{A: "x"}, new(int))
		show("Arith.Multiply", zoo.Other{Z: 1}, new(int))
	}
	for n := 1; n < 9; n++ {
		show("Shapes.Figure", n, new(zoo.Figure))
	}
	show("Arith.Multiply", zoo.Args{A: 2, B: 3}, new(int))
	if len(os.Args) > 3 {
		seeds, err := strconv.ParseInt(os.Args[3], 10, 64)
		if err != nil {
			log.Fatal(err)
		}
		for seed := int64(0); seed < seeds; seed++ {
			var reply zoo.All
			err := client.Call("Zoo.Echo", zoo.Generate(seed), &reply)
			if err != nil {
				log.Fatalf("seed %d: %v", seed, err)
			}
			if difference := zoo.Difference(seed, reply); difference != "" {
				log.Fatalf("seed %d: %s", seed, difference)
			}
		}
		fmt.Println("zoo", seeds)
	}
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
}
