package practices

import (
	"context"
	"crypto/rand"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/clewdev/clew/durable"
)

// Lines that end in a rule's name are found by clewvet: docs_test.go sees to it.

func decidesByTheClock(ctx *durable.Context, o Order) error {
	if time.Now().Weekday() == time.Sunday { // nondeterminism
		return durable.Wait(ctx, "until Monday", 24*time.Hour)
	}
	for article, n := range o.Lines { // nondeterminism
		if err := reserveLine(ctx, article, n); err != nil {
			return err
		}
	}
	return nil
}

func keyOfItsOwn(ctx *durable.Context, o Order) (string, error) {
	return durable.Step(ctx, "charge", func(ctx context.Context) (string, error) {
		key := rand.Text() // another one after a crash, and so a second charge
		return charge(ctx, key, o.Amount)
	})
}

func twoEffects(ctx *durable.Context, o Order) error {
	_, err := durable.Step(ctx, "charge and mail", func(ctx context.Context) (string, error) {
		info, _ := durable.StepInfoFrom(ctx)
		receipt, err := charge(ctx, info.Key, o.Amount)
		if err != nil {
			return "", err
		}
		return receipt, mail(ctx, info.Key, receipt) // fails, and the charge is made again
	})
	return err
}

func invoiceByValue(ctx *durable.Context, o Order) ([]byte, error) {
	return durable.Step(ctx, "invoice", func(ctx context.Context) ([]byte, error) {
		return render(ctx, o.ID) // megabytes, written now and read by every replay
	})
}

func changedInPlace(ctx *durable.Context, o Order) (string, error) {
	if os.Getenv("BOXES") != "" { // nondeterminism
		if err := reserveLine(ctx, "box", 1); err != nil { // executions that have charged park
			return "", err
		}
	}
	return chargeOnce(ctx, o)
}

func undoInADefer(ctx *durable.Context, o Order) (err error) {
	receipt, err := chargeOnce(ctx, o)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_ = refund(ctx, o.ID, receipt) // effects-in-defer
		}
	}()
	err = durable.Wait(ctx, "cooling off", time.Hour) // suspends: the refund is made, now and each time
	done = err == nil
	return err
}

func goroutinesOfItsOwn(ctx *durable.Context, order string, wentOn func(answer string)) error {
	var g errgroup.Group
	var answer string
	g.Go(func() (err error) { // nondeterminism
		answer, err = durable.WaitForCallback[string](ctx, "approval", func(ctx context.Context, callbackID string) error {
			return mail(ctx, order, callbackID)
		})
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	wentOn(answer) // at the suspension: there is no error, and no answer
	return nil
}

var till sync.Mutex

func lockHeld(ctx *durable.Context) error {
	till.Lock()
	err := durable.Wait(ctx, "count", time.Hour) // the code behind it runs in another activation
	till.Unlock()
	return err
}

func lockReleased(ctx *durable.Context) error {
	till.Lock()
	defer till.Unlock() // at the suspension too; the next activation locks again
	return durable.Wait(ctx, "count", time.Hour)
}

var (
	loading sync.Once
	rate    int
)

func onceBurnt(ctx *durable.Context) (int, error) {
	var err error
	loading.Do(func() {
		if err = durable.Wait(ctx, "opening hours", 100*time.Millisecond); err == nil {
			rate = 11
		}
	})
	return rate, err // done, says the Once in the next activation, and there is no rate
}

func fedByABranch(ctx *durable.Context, labels chan string, passing func(string)) error {
	_, err := durable.Parallel(ctx, "ship", []durable.Branch[string]{
		{Name: "label", Run: func(ctx *durable.Context) (string, error) {
			label, err := durable.Step(ctx, "print", func(context.Context) (string, error) { return "label", nil })
			labels <- label // a replay does not come here: this branch has ended
			return label, err
		}},
		{Name: "box", Run: func(ctx *durable.Context) (string, error) {
			passing("asks")
			label := <-labels // nondeterminism
			passing("has it")
			return label, durable.Wait(ctx, "drying", 100*time.Millisecond)
		}},
	})
	return err
}

func forEver(ctx *durable.Context, a Account) (Account, error) {
	for { // until it is over MaxOperations
		amount, err := durable.Receive[int](ctx, "booking", 0)
		if err != nil {
			return a, err
		}
		a.Balance, a.Seen = a.Balance+amount, a.Seen+1
	}
}

func bookTwice(ctx context.Context, engine *durable.Engine, account string, amount int) error {
	return engine.Signal(ctx, account, "booking", amount, "") // its sender tries again: two bookings
}

func goesOn(ctx *durable.Context, o Order) (string, error) {
	receipt, err := chargeOnce(ctx, o)
	if err != nil {
		receipt = "on account" // also when somebody has asked it to stop
	}
	return receipt, nil
}
