// Refused: the step takes another input than the saga.
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
	saga.Step(b, "pay", func(saga.Context, string) (int, error) { return 0, nil }).Undo(refund) // REFUSED
}
