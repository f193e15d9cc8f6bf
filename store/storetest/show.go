package storetest

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/clewdev/clew/durable"
)

// show prints what the port passes around, and is how checks compare it:
// fields that are zero or empty are left out, times are in UTC, long payloads
// are digests, and what the port leaves open is not there.
func show(v any) string {
	var b strings.Builder
	write(&b, reflect.ValueOf(v))
	return b.String()
}

func write(b *strings.Builder, v reflect.Value) {
	if !v.IsValid() {
		b.WriteString("nil")
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		write(b, v.Elem())
	case reflect.Struct:
		writeStruct(b, v)
	case reflect.Slice:
		writeSlice(b, v)
	case reflect.Map:
		writeMap(b, v)
	case reflect.String:
		writeText(b, v.String())
	default:
		fmt.Fprint(b, v.Interface())
	}
}

func writeStruct(b *strings.Builder, v reflect.Value) {
	switch s := v.Interface().(type) {
	case time.Time:
		b.WriteString(s.UTC().Format("2006-01-02T15:04:05.999999999"))
		return
	case durable.Head:
		if s.Status != durable.StatusRunning {
			// What is left of a claim after its release is a store's own.
			s.Owner, s.Lease = "", time.Time{}
		}
		s.Usage = durable.Usage{} // so is what it bills
		v = reflect.ValueOf(s)
	}
	b.WriteString("{")
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.IsExported() && !empty(v.Field(i)) {
			fmt.Fprintf(b, " %s:", field.Name)
			write(b, v.Field(i))
		}
	}
	b.WriteString(" }")
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	}
	if t, ok := v.Interface().(time.Time); ok {
		return t.IsZero()
	}
	return v.IsZero()
}

func writeSlice(b *strings.Builder, v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		writeText(b, string(v.Bytes()))
		return
	}
	b.WriteString("[")
	for i := range v.Len() {
		b.WriteString(" ")
		write(b, v.Index(i))
	}
	b.WriteString(" ]")
}

func writeMap(b *strings.Builder, v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
	b.WriteString("[")
	for _, key := range keys {
		fmt.Fprintf(b, " %q:", key)
		write(b, v.MapIndex(key))
	}
	b.WriteString(" ]")
}

func writeText(b *strings.Builder, s string) {
	if len(s) > 300 {
		fmt.Fprintf(b, "%d bytes, sha256 %x", len(s), sha256.Sum256([]byte(s)))
		return
	}
	fmt.Fprintf(b, "%q", s)
}
