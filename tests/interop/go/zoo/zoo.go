// Package zoo has a value of every kind that gob knows, made from a seed.
package zoo

import (
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"math/rand"
	"strings"
	"time"
)

type Point struct{ X, Y int }

type Node struct {
	Value int
	Next  *Node
	Kids  []Node
}

type Celsius float64

// Secret makes its own gob, Packed its own binary.
type Secret struct{ data []byte }

func (s Secret) GobEncode() ([]byte, error) { return s.data, nil }
func (s *Secret) GobDecode(b []byte) error {
	s.data = append([]byte(nil), b...)
	return nil
}

type Packed struct{ data []byte }

func (p Packed) MarshalBinary() ([]byte, error) { return p.data, nil }
func (p *Packed) UnmarshalBinary(b []byte) error {
	p.data = append([]byte(nil), b...)
	return nil
}

// Stamp and Boxed have the methods of what they embed, and with them its bytes.
type Stamp struct{ time.Time }

type Boxed struct{ Packed }

// Maybe stands in interfaces; its pointers may be nil.
type Maybe struct {
	Point  *Point
	Number *int
	Name   string
}

type All struct {
	Bool    bool
	Int     int
	Int8    int8
	Int16   int16
	Int32   int32
	Int64   int64
	Uint    uint
	Uint8   uint8
	Uint16  uint16
	Uint32  uint32
	Uint64  uint64
	Float32 float32
	Float64 float64
	Celsius Celsius

	Complex64  complex64
	Complex128 complex128
	String     string
	Bytes      []byte
	Ints       []int
	Big        []int64
	Strings    []string
	Floats     []float64
	Bools      []bool
	Blobs      [][]byte
	Array      [3]int
	Hash       [4]byte
	Grid       [][]int
	Map        map[string]int
	ByNumber   map[int64]string
	Deep       map[string]map[string]Point
	Point      Point
	Pointer    *Point
	Number     *int
	Points     []Point
	Node       *Node
	Any        interface{}
	Anys       []interface{}
	Time       time.Time
	Secret     Secret
	Packed     Packed
	Stamp      Stamp
	Boxed      Boxed
}

// Wrapped stands in interfaces, and holds one.
type Wrapped struct{ Inner interface{} }

type Line struct{ From, To Point }

type Label struct {
	X, Y string
	Size int
}

// Figure has its points in every place that gob reads by a description.
type Figure struct {
	Line, Back Line
	Label      Label
	Points     []Point
	At         *Point
	ByName     map[string]Point
}

func (f Figure) String() string {
	at := "nil"
	if f.At != nil {
		at = fmt.Sprint(*f.At)
	}
	return fmt.Sprint(f.Line, f.Back, f.Label, f.Points, at, f.ByName)
}

// NewFigure is what tests/support/arith.ts makes.
func NewFigure(n int) Figure {
	points := []Point{{X: n}, {Y: -n}, {Y: 2 * n}, {}}
	at := func(i int) Point { return points[(n+i)%4] }
	two := at(2)
	return Figure{
		Line:   Line{To: at(0), From: at(1)},
		Back:   Line{From: at(2), To: at(3)},
		Label:  Label{"x", fmt.Sprint("y", n), n},
		Points: []Point{at(1), at(3), at(0)},
		At:     &two,
		ByName: map[string]Point{"a": at(0), "b": at(1)},
	}
}

// Shapes takes and makes figures.
type Shapes struct{}

func (Shapes) Figure(n int, reply *Figure) error {
	*reply = NewFigure(n)
	return nil
}

func (Shapes) Print(f Figure, reply *string) error {
	*reply = f.String()
	return nil
}

func (Shapes) PrintAll(all []Figure, reply *string) error {
	*reply = fmt.Sprint(all)
	return nil
}

// Small, Blob and When have arguments that cannot be read.
func (Shapes) Small(n int8, reply *int) error { return nil }

func (Shapes) Blob(b []byte, reply *int) error { return nil }

func (Shapes) When(t time.Time, reply *int) error { return nil }

// Nil is null over JSON.
func (Shapes) Nil(_ int, reply *interface{}) error { return nil }

func (Shapes) Long(n int, reply *string) error {
	*reply = strings.Repeat("x", n)
	return nil
}

func (Shapes) Wide(n int64, reply *int64) error {
	*reply = 1<<53 + n
	return nil
}

func (Shapes) Expect(n int, reply *string) error {
	*reply = NewFigure(n).String()
	return nil
}

func init() {
	gob.RegisterName("zoo.Point", Point{})
	gob.RegisterName("zoo.Wrapped", Wrapped{})
	gob.RegisterName("zoo.Map", map[string]int{})
	gob.RegisterName("zoo.Time", time.Time{})
	gob.RegisterName("zoo.Anys", []interface{}{})
	gob.RegisterName("zoo.Maybe", Maybe{})
}

func text(r *rand.Rand) string {
	letters := []rune("abcXYZ 019_\u00e9\u4e16\U0001f600\n\"\x00")
	runes := make([]rune, r.Intn(40))
	for i := range runes {
		runes[i] = letters[r.Intn(len(letters))]
	}
	return string(runes)
}

func bytes(r *rand.Rand) []byte {
	n := r.Intn(50)
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	r.Read(b)
	return b
}

// wide is any 64 bits, the ends among them, and small ones often.
func wide(r *rand.Rand) uint64 {
	switch r.Intn(6) {
	case 0:
		return 0
	case 1:
		return math.MaxUint64
	case 2:
		return 1 << 63
	case 3:
		return uint64(r.Intn(256))
	default:
		return r.Uint64() >> r.Intn(64)
	}
}

func real_(r *rand.Rand) float64 {
	switch r.Intn(5) {
	case 0:
		return 0
	case 1:
		return float64(r.Intn(1000))
	case 2:
		return math.Inf(1 - 2*r.Intn(2))
	case 3:
		return r.NormFloat64() * math.Pow(10, float64(r.Intn(600)-300))
	default:
		return r.NormFloat64()
	}
}

func node(r *rand.Rand, depth int) *Node {
	if depth == 0 || r.Intn(4) == 0 {
		return nil
	}
	n := &Node{Value: r.Intn(100) - 50, Next: node(r, depth-1)}
	for i := r.Intn(3); i > 0; i-- {
		if kid := node(r, depth-1); kid != nil {
			n.Kids = append(n.Kids, *kid)
		}
	}
	return n
}

// anything is a value for an interface. JavaScript has one kind of number: so
// whole ones are int, and uint64 where they do not fit.
func anything(r *rand.Rand, depth int) interface{} {
	n := 18
	if depth == 0 {
		n = 11
	}
	switch r.Intn(n) {
	case 0:
		return nil
	case 1:
		return r.Intn(1000) - 500
	case 2:
		return int(wide(r))
	case 3:
		return wide(r) | 1<<63
	case 4:
		return r.NormFloat64()
	case 5:
		return text(r)
	case 6:
		return r.Intn(2) == 0
	case 7:
		return []byte{1, 2, byte(r.Intn(256))}
	case 8:
		return []string{text(r), text(r)}
	case 9:
		return complex(real_(r), real_(r))
	case 10:
		return Point{r.Intn(100), r.Intn(3) - 1}
	case 11:
		return map[string]int{text(r): r.Intn(100), "x": 0}
	case 12:
		return time.Unix(r.Int63n(4e9), 0).UTC()
	case 13:
		return []interface{}{anything(r, depth-1), anything(r, depth-1)}
	case 14:
		return Maybe{Name: text(r)}
	case 15:
		number := 1 + r.Intn(100)
		return Maybe{Point: &Point{X: r.Intn(2)}, Number: &number}
	default:
		return Wrapped{anything(r, depth-1)}
	}
}

// Generate makes the value of a seed.
func Generate(seed int64) All {
	r := rand.New(rand.NewSource(seed))
	a := All{
		Bool: r.Intn(2) == 0,
		Int:  int(wide(r)), Int8: int8(wide(r)), Int16: int16(wide(r)),
		Int32: int32(wide(r)), Int64: int64(wide(r)),
		Uint: uint(wide(r)), Uint8: uint8(wide(r)), Uint16: uint16(wide(r)),
		Uint32: uint32(wide(r)), Uint64: wide(r),
		Float32: float32(r.NormFloat64()), Float64: real_(r),
		Celsius:    Celsius(r.Intn(40)),
		Complex64:  complex(float32(r.Intn(9)), float32(r.NormFloat64())),
		Complex128: complex(real_(r), real_(r)),
		String:     text(r),
		Bytes:      bytes(r),
		Array:      [3]int{r.Intn(9), 0, -r.Intn(9)},
		Hash:       [4]byte{1, 0, byte(r.Intn(256)), 255},
		Map:        map[string]int{},
		ByNumber:   map[int64]string{},
		Deep:       map[string]map[string]Point{},
		Point:      Point{0, r.Intn(100)},
		Node:       node(r, 5),
		Any:        anything(r, 3),
		Time:       time.Unix(r.Int63n(4e9), r.Int63n(1000)*1e6).UTC(),
		Secret:     Secret{bytes(r)},
		Packed:     Packed{bytes(r)},
		Stamp:      Stamp{time.Unix(r.Int63n(4e9), 0).UTC()},
		Boxed:      Boxed{Packed{bytes(r)}},
	}
	for i := r.Intn(20); i > 0; i-- {
		a.Ints = append(a.Ints, r.Intn(1<<20)-1<<19)
		a.Big = append(a.Big, int64(wide(r)))
		a.Strings = append(a.Strings, text(r))
		a.Floats = append(a.Floats, real_(r))
		a.Bools = append(a.Bools, r.Intn(2) == 0)
		a.Map[text(r)] = r.Intn(1000)
		a.ByNumber[int64(wide(r))] = text(r)
		a.Points = append(a.Points, Point{r.Intn(3), r.Intn(3)})
		a.Grid = append(a.Grid, []int{i, 0})
		a.Blobs = append(a.Blobs, []byte{byte(i)})
		a.Anys = append(a.Anys, anything(r, 2))
		a.Deep[text(r)] = map[string]Point{"p": {i, 0}}
	}
	if r.Intn(2) == 0 {
		n := 1 + r.Intn(100)
		a.Pointer, a.Number = &Point{X: n}, &n
	}
	return a
}

// Zoo is a service of such values.
type Zoo struct{}

func (*Zoo) Echo(a All, reply *All) error {
	*reply = a
	return nil
}

func (*Zoo) Any(a Wrapped, reply *Wrapped) error {
	*reply = a
	return nil
}

func (*Zoo) Generate(seed int64, reply *All) error {
	*reply = Generate(seed)
	return nil
}

// Seeded is a value that should be its seed's.
type Seeded struct {
	Seed  int64
	Value All
}

// Check answers with what differs, or with nothing.
func (*Zoo) Check(s Seeded, reply *string) error {
	*reply = Difference(s.Seed, s.Value)
	return nil
}

type Args struct{ A, B int }

type Quotient struct{ Quo, Rem int }

// What Args is not: a field of another type, and none that it has.
type Wrong struct{ A string }
type Other struct{ Z int }

// Arith is the service of net/rpc's documentation.
type Arith struct{}

func (*Arith) Multiply(args Args, reply *int) error {
	*reply = args.A * args.B
	return nil
}

func (*Arith) Divide(args *Args, quo *Quotient) error {
	if args.B == 0 {
		return errors.New("divide by zero")
	}
	quo.Quo = args.A / args.B
	quo.Rem = args.A % args.B
	return nil
}

func (*Arith) Sum(numbers []float64, sum *float64) error {
	for _, n := range numbers {
		*sum += n
	}
	return nil
}

func (*Arith) Count(words []string, counts *map[string]int) error {
	*counts = map[string]int{}
	for _, word := range words {
		(*counts)[word]++
	}
	return nil
}

func (*Arith) Fail(text string, reply *string) error {
	return errors.New(text)
}

func (*Arith) Nothing(_ struct{}, _ *struct{}) error { return nil }

func (*Arith) Describe(points map[string]Point, reply *string) error {
	*reply = fmt.Sprint(len(points), points["a"])
	return nil
}
