# make test is everything that CI checks; make bench prints the table of the README.

GO ?= go

.PHONY: test check bench build clean

test: check
	@command -v $${CC:-cc} >/dev/null || { echo "the race detector needs a C compiler: install gcc or clang (apt-get install gcc)"; exit 1; }
	$(GO) test -race -timeout 8m ./...

# What needs no running: format, vet, staticcheck, module files.
check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

bench:
	$(GO) run ./internal/bench

build:
	$(GO) build -o bin/ ./cmd/clew ./examples/payments

clean:
	rm -rf bin
