// Clewvet finds mistakes in durable handlers and sagas that would show only at
// run time. docs/clewvet.md has its rules.
//
//	clewvet ./...
//	go vet -vettool=$(which clewvet) ./...
package main

import (
	"golang.org/x/tools/go/analysis/singlechecker"

	"github.com/clewdev/clew/analysis"
)

func main() { singlechecker.Main(analysis.Analyzer) }
