package conformance

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/clewdev/clew/durable"
)

func init() { maps.Copy(handlers, parallelHandlers) }

type branch = durable.Branch[any]

// gives is a branch that returns a value, breaks one that fails.
func gives(v any) branch {
	return branch{Run: func(*durable.Context) (any, error) { return v, nil }}
}

func breaks() branch {
	return branch{Run: func(*durable.Context) (any, error) { return nil, errPlain }}
}

func steps(v any) branch {
	return branch{Run: func(c *durable.Context) (any, error) { return give(c, "", v) }}
}

// ways are the branches of a requirement, a letter each: s succeeds, f fails.
func ways(letters string) (all []branch) {
	for _, l := range letters {
		if l == 'f' {
			all = append(all, breaks())
		} else {
			all = append(all, gives("ok"))
		}
	}
	return all
}

var oneByOne = durable.WithMaxConcurrency(1)

// beside returns the results of branches that run one after the other.
func beside(ctx *durable.Context, name string, branches []branch, opts ...durable.ContextOption) (any, error) {
	b, err := durable.Parallel(ctx, name, branches, append(opts, oneByOne)...)
	if err != nil {
		return nil, err
	}
	return b.Values(), nil
}

// told is what most requirements project of a batch.
func told(ctx *durable.Context, name, letters string, opts ...durable.ContextOption) (any, error) {
	b, err := durable.Parallel(ctx, name, ways(letters), append(opts, oneByOne)...)
	if err != nil {
		return nil, err
	}
	status := "SUCCEEDED"
	if b.Err() != nil {
		status = "FAILED"
	}
	return map[string]any{
		"completionReason": b.Reason, "status": status, "successCount": b.Count(durable.BranchSucceeded),
		"failureCount": b.Count(durable.BranchFailed), "totalCount": len(b.Items),
	}, nil
}

// envelope wraps values in an object.
type envelope struct{}

func (envelope) Encode(v any) ([]byte, error) { return json.Marshal(map[string]any{"wrapped": v}) }

func (envelope) Decode(b []byte, v any) error {
	return json.Unmarshal(b, &struct {
		Wrapped any `json:"wrapped"`
	}{v})
}

var parallelHandlers = map[string]handler{
	"8-1": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return beside(ctx, "parallel", []branch{steps("task-1"), steps("task-2")})
	},
	"8-2": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return beside(ctx, "", []branch{gives("alpha"), gives("beta")})
	},
	"8-3": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		first, second := gives("one"), gives("two")
		first.Name, second.Name = "first", "second"
		return beside(ctx, "named", []branch{first, second})
	},
	"8-4": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return beside(ctx, "hetero", []branch{gives("hello"), gives(42), gives(map[string]string{"k": "v"})})
	},
	"8-5": func(ctx *durable.Context, _ any, _ func()) (any, error) { return beside(ctx, "empty", nil) },
	"8-6": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return told(ctx, "failfast", "sfs", durable.WithToleratedFailures(0))
	},
	"8-7": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		b, err := durable.Parallel(ctx, "throwing", ways("fs"), oneByOne, durable.WithToleratedFailures(0))
		if err != nil {
			return nil, err
		}
		return b.Values(), b.Err()
	},
	"8-8": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return told(ctx, "min-successful", "ssss", durable.WithMinSuccessful(2))
	},
	"8-9": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return told(ctx, "tolerated", "sfs", durable.WithToleratedFailures(1))
	},
	"8-10": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return told(ctx, "tolerated-exceeded", "ffs", durable.WithToleratedFailures(1))
	},
	"8-11": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		b, err := durable.Parallel(ctx, "concurrent", []branch{gives("r0"), gives("r1"), gives("r2")}, durable.WithMaxConcurrency(2))
		if err != nil {
			return nil, err
		}
		return b.Values(), nil
	},
	"8-12": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return beside(ctx, "flat", []branch{steps("fa"), steps("fb")}, durable.Flat())
	},
	"8-13": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return told(ctx, "tolerated-pct", "ffss", durable.WithToleratedPercentage(25))
	},
	"8-14": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		waits := branch{Run: func(c *durable.Context) (any, error) { return "b1", pause(c, "", 2*time.Second) }}
		return beside(ctx, "replay", []branch{steps("b0"), waits})
	},
	"8-15": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return beside(ctx, "serde", []branch{gives("x"), gives("y")}, durable.WithCodec(envelope{}))
	},
	"8-16": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return told(ctx, "all-fail", "fff", durable.WithToleratedFailures(3))
	},
	"8-17": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return told(ctx, "min-not-reached", "sfs", durable.WithMinSuccessful(3))
	},
	"8-18": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return told(ctx, "combined", "ffss", durable.WithMinSuccessful(3), durable.WithToleratedFailures(1))
	},
	"8-19": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		b, err := durable.Parallel(ctx, "bad-concurrency", ways("ss"), durable.WithMaxConcurrency(0))
		if err != nil {
			return nil, err
		}
		return b.Values(), nil
	},
	"8-20": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		b, err := durable.Parallel(ctx, "accessors", ways("sfs"), oneByOne, durable.WithToleratedFailures(1))
		if err != nil {
			return nil, err
		}
		return map[string]any{
			"hasFailure": b.Err() != nil, "successCount": len(b.Values()),
			"failureCount": b.Count(durable.BranchFailed), "errorCount": len(b.Errors()),
		}, nil
	},
	"8-21": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return beside(ctx, "outer", []branch{{Run: func(c *durable.Context) (any, error) {
			return beside(c, "inner", []branch{steps("i1"), steps("i2")})
		}}})
	},
	"8-22": func(ctx *durable.Context, _ any, _ func()) (any, error) {
		return told(ctx, "pct-boundary", "fsss", durable.WithToleratedPercentage(25))
	},
}
