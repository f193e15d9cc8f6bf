package durable_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// TestStartJSONIsStart: whoever starts with JSON and whoever starts with the type
// start the same execution, however the JSON is written.
func TestStartJSONIsStart(t *testing.T) {
	type inner struct {
		Note string          `json:"note,omitempty"`
		Raw  json.RawMessage `json:"raw"`
	}
	type input struct {
		Name   string         `json:"name"`
		Amount float64        `json:"amount"`
		Big    int64          `json:"big"`
		At     time.Time      `json:"at"`
		Tags   map[string]any `json:"tags"`
		In     *inner         `json:"in"`
		Bytes  []byte
		None   []int
	}
	synctest.Test(t, func(t *testing.T) {
		def := durable.Define("d", "1", func(_ *durable.Context, in input) (input, error) { return in, nil })
		want := input{
			Name: "a<b>&\u2028c", Amount: 1.5, Big: 9007199254740993, At: time.Date(2030, 1, 2, 3, 4, 5, 600, time.FixedZone("", 3600)),
			Tags: map[string]any{"z": 1, "a": []any{true, nil, "x"}, "f": 0.1}, In: &inner{Raw: json.RawMessage(`{"k":[1,"<"]}`)}, Bytes: []byte("hi"),
		}
		store := mem.New()
		e := visit(t, store, time.Minute, def)
		if _, err := def.Start(t.Context(), e, "x", want); err != nil {
			t.Fatal(err)
		}
		for _, same := range []string{
			`{"name":"a<b>&\u2028c","amount":1.5,"big":9007199254740993,"at":"2030-01-02T03:04:05.0000006+01:00","tags":{"z":1,"a":[true,null,"x"],"f":0.1},"in":{"raw":{"k":[1,"<"]}},"Bytes":"aGk=","None":null}`,
			` {"unknown": {"x": 1}, "Bytes":"aGk=", "in": {"note": "", "raw": { "k" : [1, "<"] }}, "tags": {"a": [true, null, "x"], "f": 1e-1, "z": 1.0},
				"at": "2030-01-02T03:04:05.0000006+01:00", "big": 9007199254740993, "amount": 15e-1, "name": "\u0061\u003cb>&\u2028c"} `,
		} {
			left, err := e.StartJSON(t.Context(), "d", "", "x", []byte(same))
			if err != nil || left.Status != durable.StatusPending {
				t.Errorf("%s: got %+v, %v, want the one that was started", same, left, err)
			}
		}
		for _, other := range []string{`{}`, `{"name":"a"}`, `null`} {
			if _, err := e.StartJSON(t.Context(), "d", "", "x", []byte(other)); !errors.Is(err, durable.ErrExists) {
				t.Errorf("%s: got %v, want ErrExists", other, err)
			}
		}
		if _, err := def.Start(t.Context(), e, "zero", input{}); err != nil {
			t.Fatal(err)
		}
		for _, same := range []string{`null`, `{}`, ``} {
			if _, err := e.StartJSON(t.Context(), "d", "", "zero", []byte(same)); err != nil {
				t.Errorf("%q: got %v, want the one with no input", same, err)
			}
		}
		a, err := store.Load(t.Context(), "x", durable.LoadAll)
		if err != nil || !bytes.Contains(a.Input, []byte(`9007199254740993`)) {
			t.Errorf("got input %s, %v", a.Input, err)
		}
	})
}
