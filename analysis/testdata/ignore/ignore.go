package ignore

import (
	"time"

	"github.com/clewdev/clew/durable"
)

func handler(ctx *durable.Context) error {
	_ = time.Now() //clewvet:ignore nondeterminism it only labels a metric
	//clewvet:ignore nondeterminism it only labels a metric
	_ = time.Now()
	_ = time.Now() // want `nondeterminism: time.Now`

	//clewvet:ignore ignored-error the wait is a courtesy
	//clewvet:ignore nondeterminism the length hardly matters
	durable.Wait(ctx, "nap", time.Until(time.Time{}))

	//clewvet:ignore ignored-error only this rule // want `ignore: nothing to silence: ignored-error finds nothing here; delete the comment`
	_ = time.Now() // want `nondeterminism: time.Now`

	//clewvet:ignore nondeterminism // want `ignore: it gives no reason, and without one it silences nothing: write //clewvet:ignore nondeterminism and why the finding is none`
	_ = time.Now() // want `nondeterminism: time.Now`

	//clewvet:ignore nondeterminsm a slip // want `ignore: there is no rule nondeterminsm`
	//clewvet:ignore // want `ignore: it names no rule: write //clewvet:ignore RULE reason`
	return nil //clewvet:ignore nondeterminism it speaks of its own line only // want `ignore: nothing to silence`
}

func below(ctx *durable.Context) {
	_ = time.Now() // want `nondeterminism: time.Now`
}
