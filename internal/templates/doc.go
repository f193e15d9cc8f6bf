// Package templates holds the SAM templates of the examples to the code that
// they deploy: the table's keys and indexes to those of the store, permissions to
// the calls that are made, alarms to the metrics that are emitted, names in the
// environment to those that are read. It has tests only. That a template is one
// at all is cfn-lint's to say (make lint-templates).
package templates
