// Package saga stands in for what package saga does not have yet: groups,
// branches, callbacks and sub-sagas, in the shape that they will have.
package saga

import "context"

type Scope[In any] interface{ scope() In }

type Builder[In, Out any] struct{}

func New[In, Out any](name, version string) *Builder[In, Out] { return nil }

func (b *Builder[In, Out]) Build(result func(Context, In) (Out, error)) (*Saga[In, Out], error) {
	return nil, nil
}

func (b *Builder[In, Out]) scope() (in In) { return in }

type Saga[In, Out any] struct{}

type Group[In any] struct{}

func Parallel[In any](s Scope[In], name string) *Group[In] { return nil }

func (g *Group[In]) scope() (in In) { return in }

type Branch[In any] struct{}

func When[In any](s Scope[In], name string, cond func(Context, In) bool) *Branch[In] { return nil }

func (b *Branch[In]) scope() (in In) { return in }

type Context struct{ context.Context }

type UndoContext struct{ Context }

type Maybe[T any] struct{}

type Verdict[T any] struct{}

type Output[T any] struct{}

func (o Output[T]) Of(c Context) (v T) { return v }

func (o Output[T]) Get(c Context) (v T, ok bool) { return v, ok }

type Forward[In, T any] struct{}

func Step[In, T any](s Scope[In], name string, body func(Context, In) (T, error)) *Forward[In, T] {
	return nil
}

func Await[T, In any](s Scope[In], name string, ask func(Context, In, string) error) *Forward[In, T] {
	return nil
}

func Sub[In, In2, T any](s Scope[In], name string, child *Saga[In2, T], in func(Context, In) (In2, error)) (o Output[T]) {
	return o
}

func (f *Forward[In, T]) Undo(undo func(UndoContext, In, Maybe[T]) error) (o Output[T]) { return o }

func (f *Forward[In, T]) Verify(verify func(Context, In) (Verdict[T], error)) *Forward[In, T] {
	return f
}

func (f *Forward[In, T]) ReadOnly() (o Output[T]) { return o }

type Action[In any] struct{}

func Do[In any](s Scope[In], name string, body func(Context, In) error) *Action[In] { return nil }

func (a *Action[In]) Undo(undo func(c UndoContext, in In, inDoubt bool) error) {}

func (a *Action[In]) ReadOnly() {}
