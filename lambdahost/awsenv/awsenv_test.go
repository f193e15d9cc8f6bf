package awsenv_test

import (
	"strings"
	"testing"
	"time"

	"github.com/clewdev/clew/durable"
	"github.com/clewdev/clew/lambdahost"
	"github.com/clewdev/clew/lambdahost/awsenv"
)

func TestOptions(t *testing.T) {
	def := durable.Define("d", "1", func(*durable.Context, int) (int, error) { return 0, nil })
	set := func(t *testing.T, vars ...string) {
		t.Setenv("AWS_REGION", "eu-west-1")
		for i := 0; i < len(vars); i += 2 {
			t.Setenv(vars[i], vars[i+1])
		}
	}
	for _, vars := range [][]string{
		{"CLEW_TABLE", ""},
		{"CLEW_RECURSIVE_LOOP", "yes"},
		{"CLEW_SWEEP_PERIOD", "often"},
		{"CLEW_SWEEP_PERIOD", "-1s"},
		{"CLEW_UNPINNED", "perhaps"},
	} {
		t.Run(strings.Join(vars, "="), func(t *testing.T) {
			set(t, append([]string{"CLEW_TABLE", "t"}, vars...)...)
			if _, err := awsenv.Options(t.Context(), def); err == nil || !strings.Contains(err.Error(), vars[0]) {
				t.Errorf("got %v, want an error that names %s", err, vars[0])
			}
		})
	}
	set(t, "CLEW_TABLE", "t", "CLEW_QUEUE_URL", "http://q", "CLEW_RECURSIVE_LOOP", "Allow", "CLEW_SWEEP_PERIOD", "5s", "CLEW_UNPINNED", "true")
	opts, err := awsenv.Options(t.Context(), def)
	if err != nil || opts.Queue != "http://q" || !opts.RecursiveLoop || opts.SweepPeriod != 5*time.Second || !opts.Unpinned {
		t.Fatalf("got %+v, %v", opts, err)
	}
	if _, err := lambdahost.New(opts); err != nil {
		t.Error(err)
	}
}
