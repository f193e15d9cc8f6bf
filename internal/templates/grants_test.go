package templates

import (
	"slices"
	"strings"
)

// statement is one of a policy.
type statement struct {
	Effect           string
	Action, Resource any
	Condition        map[string]any
}

// policies are the statements that a role has.
func (c *checker) policies(role string) (all []statement) {
	for _, name := range c.of("AWS::IAM::Policy") {
		p := c.Resources[name]
		if !slices.Contains(list(p.at("Roles")), any(role)) {
			continue
		}
		s, err := decode[[]statement](p.at("PolicyDocument", "Statement"))
		if err != nil {
			c.wrong("%s: %v", name, err)
		}
		all = append(all, s...)
	}
	return all
}

// allows tells whether a role may do something without condition.
func (c *checker) allows(role, action, resource string) bool {
	return slices.ContainsFunc(c.policies(role), func(s statement) bool {
		return s.Effect == "Allow" && s.Condition == nil && slices.Contains(list(s.Action), any(action)) && slices.Contains(list(s.Resource), any(resource))
	})
}

// grants wants that a function may do what its code does, to what its
// environment names.
func (c *checker) grants(name string, f *resource) {
	role := f.text("Role")
	role = role[strings.LastIndex(role, "/")+1:]
	need := func(resource string, actions ...string) {
		for _, action := range actions {
			if !c.allows(role, action, resource) {
				c.wrong("%s: %s may not do %s on %s", name, role, action, resource)
			}
		}
	}
	env := func(v string) string { return f.text("Environment", "Variables", v) }
	arn := func(service, rest string) string {
		return "arn:aws:" + service + ":" + region + ":" + account + ":" + rest
	}

	need(arn("logs", "log-group:"+f.text("LoggingConfig", "LogGroup")+":*"), "logs:CreateLogStream", "logs:PutLogEvents")
	if dead := f.text("DeadLetterQueue", "TargetArn"); dead != "" {
		need(dead, "sqs:SendMessage")
	}
	if url := env("CLEW_QUEUE_URL"); url != "" {
		need(arn("sqs", url[strings.LastIndex(url, "/")+1:]), "sqs:SendMessage")
	}
	table := arn("dynamodb", "table/"+env("CLEW_TABLE"))
	switch {
	case env("CLEW_TABLE") == "":
	case f.at("Events") == nil: // it runs no sagas: no lists, no deletes, no polls
		need(table, "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem")
	default:
		need(table, c.code.actions...)
		for i := range c.code.table.GlobalSecondaryIndexes {
			need(table+"/index/"+*c.code.table.GlobalSecondaryIndexes[i].IndexName, "dynamodb:Query")
		}
		need(arn("lambda", "function:"+f.text("FunctionName")+":*"), "lambda:InvokeFunction")
		c.takes(f, need)
	}
	if url := env("PAYMENTS_PARTICIPANTS_URL"); url != "" {
		c.calls(name, role, "Participants")
	}
	for _, v := range []string{"PAYMENTS_BOOKS_TABLE", "ONBOARDING_BOOKS_TABLE"} {
		if env(v) != "" {
			need(arn("dynamodb", "table/"+env(v)), "dynamodb:GetItem", "dynamodb:PutItem")
		}
	}
}

// takes wants what Lambda does with a queue in the name of the function.
func (c *checker) takes(f *resource, need func(resource string, actions ...string)) {
	events, _ := f.at("Events").(map[string]any)
	for _, ev := range events {
		e, _ := decode[struct {
			Type       string
			Properties struct{ Queue string }
		}](ev)
		if e.Type == "SQS" {
			need(e.Properties.Queue, "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
		}
	}
}

// calls wants that a role may call a function URL that asks for a signature.
func (c *checker) calls(name, role, function string) {
	f := c.Resources[function]
	if f == nil || f.text("FunctionUrlConfig", "AuthType") != "AWS_IAM" {
		c.wrong("the URL of %s is open to everybody", function)
		return
	}
	target := "arn:aws:lambda:" + region + ":" + account + ":function:" + f.text("FunctionName") + ":" + f.text("AutoPublishAlias")
	for action, condition := range map[string]string{"lambda:InvokeFunctionUrl": "lambda:FunctionUrlAuthType", "lambda:InvokeFunction": "lambda:InvokedViaFunctionUrl"} {
		if !slices.ContainsFunc(c.policies(role), func(s statement) bool {
			for _, is := range s.Condition {
				if m, _ := is.(map[string]any); m[condition] != nil {
					return slices.Contains(list(s.Action), any(action)) && slices.Contains(list(s.Resource), any(target))
				}
			}
			return false
		}) {
			c.wrong("%s: %s may not do %s on %s when %s", name, role, action, target, condition)
		}
	}
}

// roles wants that nothing more is allowed than is named.
func (c *checker) roles() {
	for _, name := range c.of("AWS::IAM::Role") {
		if r := c.Resources[name]; r.at("ManagedPolicyArns") != nil || r.at("Policies") != nil {
			c.wrong("%s: it has policies besides those that are checked", name)
		}
	}
	own := map[string]bool{} // all versions of a function, whose numbers nobody knows, and all streams of a log
	for _, name := range c.of("AWS::Serverless::Function") {
		f := c.Resources[name]
		own["arn:aws:lambda:"+region+":"+account+":function:"+f.text("FunctionName")+":*"] = true
		own["arn:aws:logs:"+region+":"+account+":log-group:"+f.text("LoggingConfig", "LogGroup")+":*"] = true
		if f.at("Policies") != nil {
			c.wrong("%s: it has policies besides those that are checked", name)
		}
	}
	for _, name := range c.of("AWS::IAM::Policy") {
		s, err := decode[[]statement](c.Resources[name].at("PolicyDocument", "Statement"))
		if err != nil {
			c.wrong("%s: %v", name, err)
		}
		for _, s := range s {
			for _, v := range list(s.Action) {
				if strings.Contains(v.(string), "*") {
					c.wrong("%s: it allows %s", name, v)
				}
			}
			for _, v := range list(s.Resource) {
				if strings.Contains(v.(string), "*") && !own[v.(string)] {
					c.wrong("%s: it allows something on %s", name, v)
				}
			}
		}
	}
}
