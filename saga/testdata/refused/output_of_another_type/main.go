// Refused: an output of one type read as another.
package main

import (
	"errors"

	"github.com/clewdev/clew/saga"
)

type in struct{}

func pay(saga.Context, in) (int, error)                  { return 0, errors.ErrUnsupported }
func refund(saga.UndoContext, in, saga.Maybe[int]) error { return nil }
func verify(saga.Context, in) (saga.Verdict[int], error) { return saga.Unknown[int](), nil }
func result(saga.Context, in) (int, error)               { return 0, nil }

func main() {
	b := saga.New[in, int]("s", "1")
	_, _, _, _ = pay, refund, verify, result
	paid := saga.Step(b, "pay", pay).Undo(refund)
	_, _ = b.Build(func(c saga.Context, _ in) (int, error) { var s string = paid.Of(c); return len(s), nil }) // REFUSED
}
