// Prints gob streams as JSON, for tests/vectors/gob.json: a name and the bytes
// in hexadecimal. Maps have one key, so that every run prints the same.
package main

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"log"
	"math"
	"os"
	"time"
)

type Point struct{ X, Y int }

type List struct {
	Value int
	Next  *List
}

type Holder struct{ V interface{} }

type Mixed struct {
	Name  string
	Data  []byte
	Ok    bool
	Ratio float64
	Wave  complex128
	Big   uint64
	Low   int64
	At    time.Time
	Grid  [2][]int
	Names map[string]Point
	Maybe *Point
}

func points(n int) []interface{} {
	all := make([]interface{}, n)
	for i := range all {
		all[i] = Point{i, 1}
	}
	return all
}

type vector struct {
	Name string `json:"name"`
	Hex  string `json:"hex"`
}

func main() {
	gob.RegisterName("main.Point", Point{})
	gob.RegisterName("main.Holder", Holder{})
	gob.RegisterName("main.List", []interface{}{})
	values := []struct {
		name  string
		value interface{}
	}{
		{"int 0", 0},
		{"int -129", -129},
		{"int max", int64(math.MaxInt64)},
		{"int min", int64(math.MinInt64)},
		{"uint max", uint64(math.MaxUint64)},
		{"float 17", 17.0},
		{"float -0.1", -0.1},
		{"float inf", math.Inf(1)},
		{"complex", complex(1, -2)},
		{"bool", true},
		{"string", "caf\u00e9"},
		{"bytes", []byte{0, 255}},
		{"strings", []string{"", "x"}},
		{"array", [3]int{1, 0, -1}},
		{"map", map[string]int{"a": 1}},
		{"struct", Point{7, 8}},
		{"zero struct", Point{}},
		{"list", List{1, &List{0, &List{3, nil}}}},
		{"time", time.Date(2024, 2, 29, 12, 30, 15, 250e6, time.UTC)},
		{"interface nil", Holder{}},
		{"interface string", Holder{"x"}},
		{"interface struct", Holder{Point{1, 2}}},
		{"interface nested", Holder{Holder{Point{1, 2}}}},
		{"interfaces", []interface{}{nil, 1, "a", Point{0, 5}, Point{6, 0}}},
		{"many interfaces", points(100)},
		{"map of interfaces", map[string]interface{}{"a": points(50)}},
		{"mixed", Mixed{
			Name: "n", Data: []byte{1}, Ok: true, Ratio: 0.5, Wave: 1i,
			Big: 1 << 63, Low: math.MinInt64,
			At:    time.Unix(1, 0).UTC(),
			Grid:  [2][]int{{1}, nil},
			Names: map[string]Point{"p": {0, 1}},
			Maybe: &Point{3, 4},
		}},
		{"mixed zero", Mixed{}},
	}
	var vectors []vector
	for _, v := range values {
		var buffer bytes.Buffer
		if err := gob.NewEncoder(&buffer).Encode(v.value); err != nil {
			log.Fatal(v.name, err)
		}
		vectors = append(vectors, vector{v.name, hex.EncodeToString(buffer.Bytes())})
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(vectors); err != nil {
		log.Fatal(err)
	}
}
