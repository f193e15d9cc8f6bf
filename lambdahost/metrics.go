package lambdahost

import (
	"encoding/json"
	"sync"
	"time"
)

// metric is a number with its name and unit, as CloudWatch calls it.
type metric struct {
	name, unit string
	value      any
}

// emitMetrics writes metrics in the embedded form, which CloudWatch takes out of
// the log:
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
func (h *Host) emitMetrics(metrics ...metric) {
	type definition struct{ Name, Unit string }
	line := map[string]any{"function": h.opts.Function, "version": h.opts.Version}
	var defs []definition
	for _, m := range metrics {
		defs = append(defs, definition{m.name, m.unit})
		line[m.name] = m.value
	}
	line["_aws"] = map[string]any{
		"Timestamp": time.Now().UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace": h.opts.Namespace, "Dimensions": [][]string{{"function"}}, "Metrics": defs,
		}},
	}
	b, err := json.Marshal(line)
	if err != nil { // numbers and texts
		h.log.Error("bug in clew, please report it: metrics cannot be encoded", "error", err)
		return
	}
	h.emit.Lock()
	defer h.emit.Unlock()
	if _, err := h.opts.Metrics.Write(append(b, '\n')); err != nil {
		h.log.Warn("metrics could not be written", "error", err)
	}
}

// lateness collects how late the wake-ups of an invocation were.
type lateness struct {
	mu   sync.Mutex
	late []float64
}

// maxValues is how many values a metric may have in one line.
const maxValues = 100

func (l *lateness) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.late) < maxValues {
		l.late = append(l.late, max(d, 0).Seconds())
	}
}

func (l *lateness) emit(h *Host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.late) > 0 {
		h.emitMetrics(metric{"WakeLateness", "Seconds", l.late})
	}
}
