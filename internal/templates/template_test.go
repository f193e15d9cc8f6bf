package templates

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// template is a template with its functions evaluated: parameters have their
// defaults, or what was set, and resources names and ARNs made of their logical
// names.
type template struct {
	Resources map[string]*resource
}

type resource struct {
	Type, DeletionPolicy string
	Properties           map[string]any
}

const (
	region, account = "us-east-1", "123456789012"
	stack           = "stack"
)

func readTemplate(t *testing.T, example string) string {
	t.Helper()
	b, err := os.ReadFile("../../examples/" + example + "/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// evaluate evaluates a template with these parameters in place of defaults.
func evaluate(text string, set map[string]string) (*template, error) {
	var doc struct {
		Parameters map[string]struct {
			Default string `yaml:"Default"`
		} `yaml:"Parameters"`
		Conditions map[string]yaml.Node `yaml:"Conditions"`
		Resources  map[string]struct {
			Type           string    `yaml:"Type"`
			DeletionPolicy string    `yaml:"DeletionPolicy"`
			Properties     yaml.Node `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return nil, err
	}
	e := &evaluator{params: map[string]string{}, conds: doc.Conditions, types: map[string]string{}, props: map[string]*yaml.Node{}}
	for name, p := range doc.Parameters {
		e.params[name] = p.Default
	}
	for name, v := range set {
		if _, ok := e.params[name]; !ok {
			return nil, fmt.Errorf("there is no parameter %s", name)
		}
		e.params[name] = v
	}
	for name, r := range doc.Resources {
		e.types[name], e.props[name] = r.Type, &r.Properties
	}
	out := &template{Resources: map[string]*resource{}}
	for name, r := range doc.Resources {
		props, _ := e.value(e.props[name]).(map[string]any)
		out.Resources[name] = &resource{Type: r.Type, DeletionPolicy: r.DeletionPolicy, Properties: props}
	}
	return out, e.err
}

// evaluator knows the few functions that the templates use, in their short form.
type evaluator struct {
	params map[string]string
	conds  map[string]yaml.Node
	types  map[string]string
	props  map[string]*yaml.Node
	err    error // the first one
}

func (e *evaluator) fail(format string, args ...any) any {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
	return nil
}

// noValue is AWS::NoValue, which takes its property with it.
type noValue struct{}

func (e *evaluator) value(n *yaml.Node) any {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return e.fail("line %d: CloudFormation knows no aliases", n.Line)
	}
	switch n.Tag {
	case "!Ref":
		return e.ref(n.Value)
	case "!GetAtt":
		return e.attribute(n.Value)
	case "!Sub":
		return e.sub(n)
	case "!If":
		which := n.Content[2]
		if e.holds(n.Content[0].Value) {
			which = n.Content[1]
		}
		return e.value(which)
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return e.fail("line %d: this test does not know %s", n.Line, n.Tag)
	}
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			if v := e.value(n.Content[i+1]); v != (noValue{}) {
				m[n.Content[i].Value] = v
			}
		}
		return m
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			if v := e.value(c); v != (noValue{}) {
				list = append(list, v)
			}
		}
		return list
	}
	return n.Value
}

// text evaluates what must be a text.
func (e *evaluator) text(n *yaml.Node) string {
	s, ok := e.value(n).(string)
	if !ok {
		e.fail("line %d: this is no text", n.Line)
	}
	return s
}

func (e *evaluator) holds(condition string) bool {
	n, ok := e.conds[condition]
	if !ok {
		e.fail("there is no condition %s", condition)
		return false
	}
	return e.test(&n)
}

func (e *evaluator) test(n *yaml.Node) bool {
	switch n.Tag {
	case "!Not":
		return !e.test(n.Content[0])
	case "!Equals":
		return e.text(n.Content[0]) == e.text(n.Content[1])
	}
	e.fail("line %d: this test does not know the condition %s", n.Line, n.Tag)
	return false
}

func (e *evaluator) ref(name string) any {
	switch name {
	case "AWS::Region":
		return region
	case "AWS::AccountId":
		return account
	case "AWS::Partition":
		return "aws"
	case "AWS::StackName":
		return stack
	case "AWS::NoValue":
		return noValue{}
	}
	if v, ok := e.params[name]; ok {
		return v
	}
	if function, ok := strings.CutSuffix(name, ".Alias"); ok { // SAM's own
		return e.arn("lambda", "function:"+e.property(function, "FunctionName")+":live")
	}
	switch e.types[name] {
	case "":
		return e.fail("!Ref %s leads nowhere", name)
	case "AWS::SQS::Queue":
		return "https://sqs." + region + ".amazonaws.com/" + account + "/" + name
	case "AWS::Logs::LogGroup":
		return e.property(name, "LogGroupName")
	}
	return name
}

// property is a property of a resource that is a text.
func (e *evaluator) property(resource, name string) string {
	n := e.props[resource]
	for i := 0; n != nil && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return e.text(n.Content[i+1])
		}
	}
	e.fail("%s has no property %s", resource, name)
	return ""
}

func (e *evaluator) arn(service, rest string) string {
	return "arn:aws:" + service + ":" + region + ":" + account + ":" + rest
}

func (e *evaluator) attribute(path string) any {
	name, attribute, _ := strings.Cut(path, ".")
	if function, ok := strings.CutSuffix(name, "Url"); ok && attribute == "FunctionUrl" { // which SAM makes
		return "https://" + function + ".lambda-url." + region + ".on.aws/"
	}
	switch e.types[name] + "." + attribute {
	case "AWS::DynamoDB::Table.Arn":
		return e.arn("dynamodb", "table/"+name)
	case "AWS::SQS::Queue.Arn":
		return e.arn("sqs", name)
	case "AWS::SQS::Queue.QueueName":
		return name
	case "AWS::Logs::LogGroup.Arn":
		return e.arn("logs", "log-group:"+e.property(name, "LogGroupName")+":*")
	case "AWS::IAM::Role.Arn":
		return "arn:aws:iam::" + account + ":role/" + name
	}
	return e.fail("!GetAtt %s leads nowhere", path)
}

// sub evaluates !Sub with or without names of its own.
func (e *evaluator) sub(n *yaml.Node) any {
	text, own := n.Value, map[string]string{}
	if n.Kind == yaml.SequenceNode {
		text = n.Content[0].Value
		for i := 0; i < len(n.Content[1].Content); i += 2 {
			own[n.Content[1].Content[i].Value] = e.text(n.Content[1].Content[i+1])
		}
	}
	return os.Expand(text, func(name string) string {
		if v, ok := own[name]; ok {
			return v
		}
		v, ok := e.ref(name).(string)
		if !ok {
			e.fail("line %d: ${%s} is no text", n.Line, name)
		}
		return v
	})
}

// of are the names of the resources of a type.
func (t *template) of(kind string) (names []string) {
	for name, r := range t.Resources {
		if r.Type == kind {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// at is what stands at a path into the properties, nil if nothing does.
func (r *resource) at(path ...string) any {
	var v any = r.Properties
	for _, name := range path {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// text is a text at a path, "" if there is none.
func (r *resource) text(path ...string) string {
	s, _ := r.at(path...).(string)
	return s
}

// list is what stands at a path as a list; a single value is a list of one.
func list(v any) []any {
	if l, ok := v.([]any); ok || v == nil {
		return l
	}
	return []any{v}
}

// decode turns evaluated properties into a value of a type with json tags.
func decode[T any](v any) (out T, err error) {
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	return out, err
}
