package durable_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/store/mem"
)

// running makes an engine that serves definitions over a store in memory, for
// the examples. In earnest the store is a file: see package store/sqlite.
func running(defs ...durable.Registrable) (ctx context.Context, e *durable.Engine, stop func()) {
	return runningWith(durable.Options{}, defs...)
}

// runningWith is running with options. A negative HotWait makes every wait a
// suspension, so that short examples are replayed too.
func runningWith(opts durable.Options, defs ...durable.Registrable) (ctx context.Context, e *durable.Engine, stop func()) {
	e, err := durable.New(mem.New(), opts)
	if err != nil {
		panic(err)
	}
	if err := e.Register(defs...); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	return ctx, e, func() { cancel(); <-done }
}

func ExampleStep() {
	greet := durable.Define("greet", "1", func(ctx *durable.Context, name string) (string, error) {
		return durable.Step(ctx, "compose", func(ctx context.Context) (string, error) {
			info, _ := durable.StepInfoFrom(ctx)
			return "Hello, " + name + ", under key " + info.Key, nil
		}, durable.WithRetry(durable.Retry{MaxAttempts: 3}), durable.WithTimeout(5*time.Second))
	})
	ctx, engine, stop := running(greet)
	defer stop()
	execution, err := greet.Start(ctx, engine, "greeting-1", "Ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(execution.Wait(ctx))
	// Output: Hello, Ada, under key greeting-1/1/compose <nil>
}

func ExampleWait() {
	nap := durable.Define("nap", "1", func(ctx *durable.Context, d time.Duration) (string, error) {
		if err := durable.Wait(ctx, "nap", d); err != nil {
			return "", err
		}
		return "awake", nil
	})
	ctx, engine, stop := running(nap)
	defer stop()
	execution, _ := nap.Start(ctx, engine, "nap-1", 10*time.Millisecond)
	fmt.Println(execution.Wait(ctx))
	// Output: awake <nil>
}

func ExampleChild() {
	double := func(ctx *durable.Context, n int) (int, error) {
		return durable.Child(ctx, "double", func(ctx *durable.Context) (int, error) {
			return durable.Step(ctx, "multiply", func(context.Context) (int, error) { return 2 * n, nil })
		})
	}
	quadruple := durable.Define("quadruple", "1", func(ctx *durable.Context, n int) (int, error) {
		n, err := double(ctx, n)
		if err != nil {
			return 0, err
		}
		return double(ctx, n)
	})
	ctx, engine, stop := running(quadruple)
	defer stop()
	execution, _ := quadruple.Start(ctx, engine, "q-1", 5)
	fmt.Println(execution.Wait(ctx))
	// Output: 20 <nil>
}

func ExampleCreateCallback() {
	mail := make(chan string, 1)
	approval := durable.Define("approval", "1", func(ctx *durable.Context, what string) (string, error) {
		answer, err := durable.CreateCallback[string](ctx, "answer", durable.WithCallbackTimeout(72*time.Hour))
		if err != nil {
			return "", err
		}
		_, err = durable.Step(ctx, "ask", func(context.Context) (struct{}, error) {
			mail <- answer.ID() // the callback is durable before this runs
			return struct{}{}, nil
		})
		if err != nil {
			return "", err
		}
		return answer.Result(ctx)
	})
	ctx, engine, stop := running(approval)
	defer stop()
	execution, _ := approval.Start(ctx, engine, "a-1", "a new chair")
	id := <-mail
	fmt.Println(engine.CompleteCallback(ctx, id, "granted"))
	fmt.Println(execution.Wait(ctx))
	// Output:
	// <nil>
	// granted <nil>
}

func ExampleEngine_Cancel() {
	begun := make(chan bool, 1)
	long := durable.Define("long", "1", func(ctx *durable.Context, _ int) (string, error) {
		_, err := durable.Step(ctx, "work", func(ctx context.Context) (int, error) {
			begun <- true
			<-ctx.Done() // a cancel reaches the running body
			return 0, ctx.Err()
		})
		if errors.Is(err, durable.ErrCancelled) {
			_, failed := durable.Step(ctx.Unwinding(), "tidy up", func(context.Context) (int, error) {
				fmt.Println("tidied up")
				return 0, nil
			})
			if failed != nil {
				return "", failed
			}
		}
		return "", err
	})
	ctx, engine, stop := running(long)
	defer stop()
	execution, _ := long.Start(ctx, engine, "l-1", 0)
	<-begun
	asked := engine.Cancel(ctx, "l-1", "ada", "took too long") // durable, and perhaps obeyed already
	_, err := execution.Wait(ctx)
	fmt.Println(asked)
	fmt.Println(err, errors.Is(err, durable.ErrCancelled))
	// Output:
	// tidied up
	// <nil>
	// durable: execution cancelled, by "ada": took too long true
}

func ExampleDefinition_Start() {
	once := durable.Define("once", "1", func(ctx *durable.Context, n int) (int, error) {
		return durable.Step(ctx, "count", func(context.Context) (int, error) { fmt.Println("runs once"); return n, nil })
	})
	ctx, engine, stop := running(once)
	defer stop()
	for range 2 { // the same ID with the same input is the same execution
		execution, err := once.Start(ctx, engine, "o-1", 7)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(execution.Wait(ctx))
	}
	_, err := once.Start(ctx, engine, "o-1", 8)
	fmt.Println(errors.Is(err, durable.ErrExists))
	// Output:
	// runs once
	// 7 <nil>
	// 7 <nil>
	// true
}

func ExampleEngine_Act() {
	broken := true
	fragile := durable.Define("fragile", "1", func(ctx *durable.Context, _ int) (string, error) {
		if broken {
			panic("a bug")
		}
		return durable.Step(ctx, "work", func(context.Context) (string, error) { return "done", nil })
	})
	ctx, engine, stop := running(fragile)
	defer stop()
	execution, _ := fragile.Start(ctx, engine, "f-1", 0)
	_, err := execution.Wait(ctx)
	fmt.Println(errors.Is(err, durable.ErrParked))

	broken = false // in earnest: a deploy
	record, _ := engine.Store().Load(ctx, "f-1", durable.LoadHead)
	fmt.Println(engine.Act(ctx, "f-1", record.Revision, durable.Decision{Verb: durable.VerbResume, Actor: "ada", Reason: "mended in build 2"}))
	fmt.Println(execution.Wait(ctx))
	// Output:
	// true
	// <nil>
	// done <nil>
}
