package nondeterminism

import (
	"time"

	"github.com/clewdev/clew/analysis/testdata/standin/clew/saga"
)

func late(c saga.Context, n int) bool {
	return time.Now().Hour() > n // want `^nondeterminism: time.Now in the condition of "late" differs on every run`
}

func conditions() {
	b := saga.New[int, string]("s", "1")
	saga.Do(saga.When(b, "late", late), "hurry", func(saga.Context, int) error {
		time.Sleep(time.Second) // a body may
		return nil
	}).ReadOnly()
}
