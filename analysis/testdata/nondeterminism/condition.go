package nondeterminism

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/clewdev/clew/analysis/testdata/standin/uuid"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/saga"
)

// What a condition decides is recorded, so it may look at the clock.
func late(c saga.Context, n int) bool { return time.Now().Hour() > n && os.Getenv("SHOP") != "" }

func conditions(news <-chan int) {
	b := saga.New[int, string]("s", "1")
	saga.Do(saga.When(b, "late", late), "hurry", func(saga.Context, int) error {
		time.Sleep(time.Second) // a body may
		return nil
	}).ReadOnly()
	saga.When(b, "asked", func(c saga.Context, n int) bool {
		r, err := http.Get("http://shop") // want `^nondeterminism: http.Get in the condition of "asked": it runs again if the process dies before what came of it is recorded; do it in a step and use the step's output$`
		time.Sleep(time.Second)           // want `^nondeterminism: time.Sleep in the condition of "asked" waits without a record: declare a saga.Wait before it$`
		go func() { _ = time.Now() }()    // want `^nondeterminism: a goroutine in the condition of "asked": nothing waits for it`
		count := func() int {
			return <-news // want `^nondeterminism: a receive from a channel in the condition of "asked"`
		}
		select { // want `^nondeterminism: select in the condition of "asked"`
		case <-news:
		default:
		}
		for range news { // want `^nondeterminism: a receive from a channel in the condition of "asked"`
		}
		return err == nil && r.StatusCode == count()
	})
}

// What the input of a sub-saga makes is recorded too.
func inputs(child *saga.Saga[string, string]) {
	b := saga.New[int, string]("s", "1")
	saga.Sub(b, "sub", child, func(saga.Context, int) (string, error) { return uuid.NewString() + time.Now().String(), nil })
	saga.Sub(b, "told", child, func(saga.Context, int) (string, error) {
		_, err := http.DefaultClient.Post("http://shop", "", nil) // want `^nondeterminism: \(http.Client\).Post in the input of sub-saga "told": it runs again`
		return "", err
	})
}

// runs: the body of a Run is code of a handler, and its bodies are bodies.
func runs() {
	b := saga.New[int, string]("s", "1")
	saga.Run(b, "visa", func(ctx *durable.Context, n int) (string, error) {
		at := time.Now() // want `^nondeterminism: time.Now in a handler differs on every run: use durable.Now`
		_, err := durable.Step(ctx, "look", func(context.Context) (int64, error) { return time.Now().Unix(), nil })
		return at.String(), err
	}).ReadOnly()
	saga.Await[string](b, "answer", func(saga.Context, int, string) error {
		_ = time.Now() // asking is a body
		return nil
	}).ReadOnly()
}
