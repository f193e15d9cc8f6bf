package durable

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"reflect"
)

// encodeValue returns the stored form of v: JSON, and nothing at all for a
// type that carries nothing.
func encodeValue(v any, limit int) ([]byte, error) {
	if t := reflect.TypeOf(v); t != nil && t.Kind() == reflect.Struct && t.NumField() == 0 {
		return nil, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, Permanent(fmt.Errorf("durable: %T cannot be stored as JSON: %w", v, err))
	}
	if string(b) == "null" {
		return nil, nil
	}
	if len(b) > limit {
		return nil, tooLarge(v, len(b), limit)
	}
	return b, nil
}

// decodeValue reads the stored form back into a T.
func decodeValue[T any](b []byte) (T, error) {
	var v T
	if t := reflect.TypeFor[T](); t.Kind() == reflect.Struct && t.NumField() == 0 {
		return v, nil // it carries nothing, whatever a person may have stated
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("durable: stored value does not decode into %T: %w", v, err)
	}
	return v, nil
}

// Codec is how the results of one operation are stored, for those that ask for
// another form than JSON. It must read what its earlier versions wrote.
type Codec interface {
	// Encode returns the stored form of v.
	Encode(v any) ([]byte, error)
	// Decode reads the stored form into what v points to.
	Decode(b []byte, v any) error
}

// encodeWith is encodeValue with the codec of an operation, if it has one.
func encodeWith(c Codec, v any, limit int) ([]byte, error) {
	if c == nil {
		return encodeValue(v, limit)
	}
	b, err := c.Encode(v)
	switch {
	case err != nil:
		return nil, Permanent(fmt.Errorf("durable: codec %T: %w", c, err))
	case len(b) > limit:
		return nil, tooLarge(v, len(b), limit)
	}
	return b, nil
}

// decodeWith is decodeValue with the codec of an operation, if it has one.
func decodeWith[T any](c Codec, b []byte) (v T, err error) {
	if c == nil {
		return decodeValue[T](b)
	}
	if err := c.Decode(b, &v); err != nil {
		return v, fmt.Errorf("durable: codec %T: %w", c, err)
	}
	return v, nil
}

func tooLarge(v any, size, limit int) error {
	return Permanent(fmt.Errorf("%w: %T takes %d bytes, the limit is %d: store it elsewhere and pass a reference", ErrTooLarge, v, size, limit))
}

// digest lets two inputs of one execution be compared without showing either.
func digest(id string, input []byte) []byte {
	h := hmac.New(sha256.New, []byte(id))
	h.Write(input)
	return h.Sum(nil)
}
