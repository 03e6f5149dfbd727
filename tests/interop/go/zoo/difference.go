package zoo

import (
	"fmt"
	"reflect"
)

// Difference says which field of a value is not its seed's.
func Difference(seed int64, value All) string {
	want, got := reflect.ValueOf(Generate(seed)), reflect.ValueOf(value)
	for i := 0; i < want.NumField(); i++ {
		a, b := want.Field(i).Interface(), got.Field(i).Interface()
		if !reflect.DeepEqual(a, b) {
			name := want.Type().Field(i).Name
			return fmt.Sprintf("%s: want %#v, received %#v", name, a, b)
		}
	}
	return ""
}
