package conformance

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strconv"
)

// requirement is one file.
type requirement struct {
	suite, id string

	Description    string            `yaml:"description"`
	Variables      map[string]string `yaml:"Variables"`
	Input          any               `yaml:"Input"`
	ExpectedResult struct {
		ExecutionStatus string `yaml:"ExecutionStatus"`
		Result          any    `yaml:"Result"`
	} `yaml:"ExpectedResult"`
	CallbackActions          []action         `yaml:"CallbackActions"`
	ExpectedExecutionHistory []map[string]any `yaml:"ExpectedExecutionHistory"`
}

// action is what somebody outside does to a callback, some seconds after it
// was created, or after the action before.
type action struct {
	Name      string  `yaml:"CallbackName"`
	Operation string  `yaml:"Operation"`
	Payload   any     `yaml:"Payload"`
	Delay     float64 `yaml:"Delay"`
}

// judge compares what was expected with what is there, and knows what has been
// bound to names so far.
type judge map[string]any

var (
	variable  = regexp.MustCompile(`\$\{([A-Za-z0-9_]+)\}`)
	generator = regexp.MustCompile(`^\$\{GEN_STR:(\d+)\}$`)
	pattern   = regexp.MustCompile(`^\$\{/(.*)/\}$`)
)

// bind gives the variables of a requirement their values.
func (j judge) bind(variables map[string]string) {
	for name, v := range variables {
		if m := generator.FindStringSubmatch(v); m != nil {
			n, _ := strconv.Atoi(m[1])
			b := make([]byte, n)
			for i := range b {
				b[i] = byte('a' + rand.N(26))
			}
			v = string(b)
		}
		j[name] = v
	}
}

// fill puts values in the place of the names of variables.
func (j judge) fill(v any) any {
	switch v := v.(type) {
	case string:
		return variable.ReplaceAllStringFunc(v, func(s string) string {
			if value, bound := j[s[2:len(s)-1]]; bound {
				return fmt.Sprint(value)
			}
			return s
		})
	case map[string]any:
		filled := map[string]any{}
		for name, e := range v {
			filled[name] = j.fill(e)
		}
		return filled
	case []any:
		filled := make([]any, len(v))
		for i, e := range v {
			filled[i] = j.fill(e)
		}
		return filled
	}
	return v
}

// compare returns what differs: "*" and {} stand for anything, a name that is
// not bound is bound now, objects may have more keys than are expected.
func (j judge) compare(at string, want, got any) error {
	switch want := want.(type) {
	case string:
		return j.text(at, want, got)
	case map[string]any:
		if len(want) == 0 {
			return nil
		}
		have, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s: got %v, want an object", at, got)
		}
		for name, v := range want {
			if _, there := have[name]; !there {
				return fmt.Errorf("%s: there is no %s in %v", at, name, have)
			}
			if err := j.compare(at+"."+name, v, have[name]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		have, ok := got.([]any)
		if !ok || len(have) != len(want) {
			return fmt.Errorf("%s: got %v, want %v", at, got, want)
		}
		for i := range want {
			if err := j.compare(fmt.Sprintf("%s[%d]", at, i), want[i], have[i]); err != nil {
				return err
			}
		}
		return nil
	case int:
		if n, ok := got.(float64); ok && n == float64(want) {
			return nil
		}
	}
	if !reflect.DeepEqual(want, got) {
		return fmt.Errorf("%s: got %v, want %v", at, got, want)
	}
	return nil
}

func (j judge) text(at, want string, got any) error {
	if want == "*" {
		return nil
	}
	if m := pattern.FindStringSubmatch(want); m != nil {
		if !regexp.MustCompile(m[1]).MatchString(fmt.Sprint(got)) {
			return fmt.Errorf("%s: got %v, want it to match %s", at, got, m[1])
		}
		return nil
	}
	if m := variable.FindStringSubmatch(want); m != nil && m[0] == want {
		bound, there := j[m[1]]
		if !there {
			j[m[1]] = got
			return nil
		}
		if bound != got {
			return fmt.Errorf("%s: got %v, want %v as before", at, got, bound)
		}
		return nil
	}
	if filled := j.fill(want); filled != got {
		return fmt.Errorf("%s: got %v, want %v", at, got, filled)
	}
	return nil
}
