// Bootstrap is the function of the tests that run real processes.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/lambdahost"
	"github.com/clewdev/clew/lambdahost/awsenv"
)

// plan is the input of an execution.
type plan struct {
	Waits int           `json:"waits"` // so many, one after the other
	Each  time.Duration `json:"each"`
	Steps int           `json:"steps"` // so many after that
	Takes time.Duration `json:"takes"` // each of them
	May   time.Duration `json:"may"`   // and may take
	Deaf  bool          `json:"deaf"`  // they ignore the end of their context
	Log   string        `json:"log"`   // a file to which each adds a line when it begins and ends
}

func main() {
	began := time.Now()
	def := durable.Define("plan", "1", func(ctx *durable.Context, p plan) (int, error) {
		for i := range p.Waits {
			if err := durable.Wait(ctx, fmt.Sprint("wait", i), p.Each); err != nil {
				return 0, err
			}
		}
		for i := range p.Steps {
			_, err := durable.Step(ctx, fmt.Sprint("step", i), p.step, durable.WithTimeout(p.May), durable.WithRetry(durable.Retry{MaxAttempts: 3, Initial: time.Millisecond, Max: time.Millisecond}))
			if err != nil {
				return 0, err
			}
		}
		return p.Waits + p.Steps, nil
	})
	opts, err := awsenv.Options(context.Background(), def)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bootstrap:", err)
		os.Exit(1)
	}
	opts.HotWait = -1 // each wait is a wake-up
	open := opts.Open
	opts.Open = func(ctx context.Context) (durable.Store, error) {
		s, err := open(ctx)
		fmt.Printf("opened after %d us\n", time.Since(began).Microseconds())
		return s, err
	}
	host, err := lambdahost.New(opts)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bootstrap:", err)
		os.Exit(1)
	}
	host.Start()
}

// step says when it begins and ends.
func (p plan) step(ctx context.Context) (int, error) {
	p.say(ctx, "begins")
	defer p.say(ctx, "ends")
	if p.Deaf {
		time.Sleep(p.Takes)
		return 0, nil
	}
	select {
	case <-time.After(p.Takes):
		return 0, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (p plan) say(ctx context.Context, what string) {
	info, _ := durable.StepInfoFrom(ctx)
	f, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d %s %s %s\n", time.Now().UnixMilli(), info.Execution, info.Path, what)
		err = f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bootstrap:", err)
	}
}
