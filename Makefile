# Every command that the README and CI name is a target here. `make help` lists
# them.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# buf, staticcheck and govulncheck are tools of a module of their own: in go.mod they
# would drag a hundred modules and another protobuf runtime into the product.
TOOL := go tool -modfile=proto/tools/go.mod
BUF := $(TOOL) buf

# All of staticcheck's, but that nhooyr.io/websocket is deprecated: grpc-web needs it,
# and the tests need no second one.
CHECKS := inherit,-SA1019

# What to hand on: make run ARGS=..., make test TESTFLAGS=..., and so on.
ARGS ?=
TESTFLAGS ?=
BENCH ?= .
BENCHFLAGS ?=
FUZZ ?= .
FUZZTIME ?= 60s
# The commit that the contract must stay compatible with. Empty: the last
# commit, or the one before it where nothing under proto/ has changed since.
AGAINST ?=

GOOGLE_PROTOS := proto/deps/google/api/annotations.proto
# Every folder with a lock file gets its packages by `npm ci`.
NPM_FOLDERS := $(patsubst %/package-lock.json,%,$(wildcard proto/tools/package-lock.json clients/*/package-lock.json gateway/*/package-lock.json e2e/package-lock.json e2e/*/package-lock.json))

##@ The main ones

.PHONY: help
help: ## List the targets
	@awk 'BEGIN { FS = ":.*## " }
		/^##@ / { printf "\n%s\n", substr($$0, 5) }
		/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: build ## Start a node with the shop contract, a live feed of orders and a page that shows them
	@exec bin/watchroute demo $(ARGS)

.PHONY: run-shop
run-shop: build ## Run a shop, for real: services that publish to Kafka, and pages that see each step (make brokers BROKERS=kafka)
	@(cd e2e && go build -o ../bin/shop ./shop)
	exec bin/shop -watchroute bin/watchroute $(ARGS)

.PHONY: test
test: ## Install what is missing, then check and test everything
	@$(MAKE) prepare
	log=$$(mktemp)
	export WATCHROUTE_SKIPPED=$$(mktemp)
	trap 'rm -f "$$log" "$$WATCHROUTE_SKIPPED"' EXIT
	failed=
	if [ -x e2e/brokers/install.sh ]; then e2e/brokers/install.sh || true; fi # tests without their broker say SKIP
	for step in check-generated lint-proto breaking vet test-go test-clients test-e2e; do
		echo "== $$step"
		$(MAKE) $$step 2>&1 | tee -a "$$log" || failed+=" $$step"
	done
	count() { grep -cE "$$1" "$$log" || true; }
	cat "$$WATCHROUTE_SKIPPED"
	echo "make test: $${failed:+FAILED:$$failed: }$$(count '^ok\s+\S+/') packages ok, $$(count '^FAIL\s+\S') failed, $$(wc -l < "$$WATCHROUTE_SKIPPED") tests skipped for want of a broker or of a driver, in $$SECONDS s"
	[ -z "$$failed" ]

.PHONY: bench
bench: ## Measure the node beside what users could pick instead, in about 5 minutes
	@cd e2e/peers && go run . run -short $(BENCHFLAGS)

.PHONY: bench-full
bench-full: ## Measure all scenarios in three rounds, and how the cost grows, into docs/benchmarks (about 75 minutes)
	@out=$$PWD/docs/benchmarks
	mkdir -p "$$out"
	rm -f "$$out/results.jsonl"
	cd e2e/peers
	go run . run -rounds 3 -out "$$out/results.jsonl" $(BENCHFLAGS) > /dev/null
	go run . table "$$out/results.jsonl" | tee "$$out/results.md"
	go run . curves -out "$$out"

.PHONY: bench-go
bench-go: ## Run the Go benchmarks (BENCH=regexp)
	@go test -run '^$$' -bench '$(BENCH)' -benchmem $(BENCHFLAGS) ./...

.PHONY: generate
generate: deps npm ## Write gen/ anew from proto/, and the pages that are compiled in from gen/ and clients/ts
	@$(BUF) generate
	npm run -s build --prefix gateway/console
	node e2e/shop/pages/build.mjs

.PHONY: lint
lint: lint-proto vet deps-review vulncheck ## Look for mistakes in the contracts, in the Go code and in what it builds upon
	@$(TOOL) staticcheck -checks $(CHECKS) ./...
	if [ -f e2e/go.mod ]; then
		staticcheck=$$($(TOOL) -n staticcheck)
		(cd e2e && "$$staticcheck" -checks $(CHECKS) ./...)
		cd e2e/peers && "$$staticcheck" -checks $(CHECKS) ./...
	fi

.PHONY: build
build: ## Build bin/watchroute
	@CGO_ENABLED=0 go build -trimpath -o bin/watchroute ./cmd/watchroute

.PHONY: packages
packages: ## Pack the clients for npm and pip, as their registries would get them, into bin/
	@$(MAKE) clients/ts/node_modules/.package-lock.json
	mkdir -p bin
	packed=$$(cd clients/ts && npm pack --silent --pack-destination ../../bin)
	mv "bin/$$packed" bin/watchroute-client.tgz
	if command -v python3 > /dev/null; then
		python3 -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir bin clients/python
	else
		echo 'packages: there is no python3, so the Python client is not packed' >&2
	fi
	ls bin/*.tgz bin/*.whl 2> /dev/null || true

.PHONY: api-docs
api-docs: ## Write the reference of the clients into bin/api-docs
	@$(MAKE) clients/ts/node_modules/.package-lock.json
	npm run -s docs --prefix clients/ts -- --logLevel Error
	clients/python/docs.sh
	rm -rf bin/api-docs
	mkdir -p bin/api-docs/go
	for package in . ./resolver; do (cd clients/go && go doc -all "$$package") > "bin/api-docs/go/$$(basename "$$(realpath "clients/go/$$package")").txt"; done
	mv clients/ts/docs bin/api-docs/ts
	mv clients/python/docs bin/api-docs/python
	ls -d bin/api-docs/*

##@ Parts of the above

.PHONY: test-go
test-go: ## Test the product, with the race detector
	@CGO_ENABLED=1 go test -race $(TESTFLAGS) ./...

.PHONY: test-clients
test-clients: npm ## Test the clients in TypeScript and Python, and build what their users get
	@npm test -s --prefix clients/ts
	npm run -s driver --prefix clients/ts
	npm run -s size --prefix clients/ts
	npm run -s pack-test --prefix clients/ts
	clients/python/check.sh
	clients/python/pack-test.sh

.PHONY: test-e2e
test-e2e: npm ## Test whole processes, browsers and faults
	@if [ ! -f e2e/go.mod ]; then
		echo "test-e2e: skipped, there is no e2e/go.mod"
		exit
	fi
	(cd e2e && go test -p 1 $(TESTFLAGS) ./...) # most tests want the whole machine
	cd e2e/peers && go test $(TESTFLAGS) ./...

.PHONY: conformance-full
conformance-full: npm ## Test the clients with all that their suite can do, such as a cut at each byte of a stream (in about half an hour)
	@npm run -s driver --prefix clients/ts
	clients/python/check.sh
	cd e2e && WATCHROUTE_CONFORMANCE=full go test -count=1 -timeout 90m -v $(TESTFLAGS) ./conformance

.PHONY: fuzz
fuzz: ## Run each fuzzer (FUZZ=regexp) for FUZZTIME, one after the other
	@found=$$(grep -rnoE '^func Fuzz\w+' --include='*_test.go' --exclude-dir=node_modules --exclude-dir=e2e . |
		sed -E 's|/[^/]*:[0-9]+:func | |' | sort -u | { grep -E '$(FUZZ)' || true; })
	[ -n "$$found" ] || { echo 'fuzz: no fuzzer matches $(FUZZ)'; exit; }
	while read -r folder name; do
		echo "== $$folder $$name"
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$folder" < /dev/null
	done <<< "$$found"
	echo "fuzz: $$(wc -l <<< "$$found") fuzzers, $(FUZZTIME) each, no finding"

.PHONY: vet
vet: ## Run go vet
	@go vet ./...
	if [ -f e2e/go.mod ]; then (cd e2e && go vet ./...); (cd e2e/peers && go vet ./...); fi

.PHONY: deps-review
deps-review: ## Compare what is built upon with docs/dependencies.md: reasons, licences, overrides
	@go run ./internal/dependencies review

.PHONY: vulncheck
vulncheck: ## Look for known vulnerabilities in what the code calls, with govulncheck
	@go run ./internal/dependencies vulnerabilities "$$($(TOOL) -n govulncheck)" . $$([ ! -f e2e/go.mod ] || echo e2e)

.PHONY: lint-proto
lint-proto: deps ## Check style and format of the contracts
	@$(BUF) lint
	$(BUF) format --diff --exit-code --exclude-path proto/deps/google

.PHONY: breaking
breaking: deps ## Check that the contracts still serve the clients of the last commit (AGAINST=commit)
	@against='$(AGAINST)'
	if ! git rev-parse --quiet --verify HEAD > /dev/null 2>&1; then
		echo 'breaking: skipped, there is no commit yet'
		exit
	fi
	if [ -z "$$against" ]; then
		against=HEAD
		[ -n "$$(git status --porcelain -- proto buf.yaml)" ] || against=HEAD~1
	fi
	if ! git cat-file -e "$$against:proto" 2> /dev/null || ! git cat-file -e "$$against:buf.yaml" 2> /dev/null; then
		echo "breaking: skipped, $$against does not exist or has no contracts"
		exit
	fi
	# Not `--against .git`: that tree lacks the git-ignored google protos.
	base=$$(mktemp -d)
	trap 'rm -rf "$$base"' EXIT
	git archive "$$against" buf.yaml proto | tar -x -C "$$base"
	mkdir -p "$$base/proto/deps"
	cp -R proto/deps/google "$$base/proto/deps/"
	$(BUF) breaking --against "$$base"
	echo "breaking: compatible with $$against"

.PHONY: check-generated
check-generated: deps npm ## Check that gen/ is, byte for byte, what proto/ generates
	@fresh=$$(mktemp -d)
	trap 'rm -rf "$$fresh"' EXIT
	$(BUF) generate -o "$$fresh"
	if ! diff -rq "$$fresh/gen" gen; then
		echo 'check-generated: gen/ differs from what proto/ generates; run `make generate`' >&2
		exit 1
	fi

##@ What the others need; each does nothing where nothing is stale

.PHONY: prepare
prepare: ## Install the Debian packages that tests need and that are missing
	@need() { command -v "$$1" > /dev/null || missing+=" $$2"; }
	missing=
	need go go; need node node; need npm npm
	[ -z "$$missing" ] || { echo "prepare: install these first (Go 1.26, Node 20 or newer):$$missing" >&2; exit 1; }
	need git git; need gcc gcc; need python3 python3
	python3 -c 'import ensurepip' 2> /dev/null || missing+=' python3-venv'
	if [ -f e2e/go.mod ]; then need curl curl; need chromium chromium; fi
	[ -n "$$missing" ] || exit 0
	root=
	[ "$$(id -u)" = 0 ] || root='sudo -n'
	if ! command -v apt-get > /dev/null || ! $$root true 2> /dev/null; then
		echo "prepare: missing, and only root on a Debian machine can install them from here:$$missing" >&2
		exit 1
	fi
	echo "prepare: installing$$missing"
	$$root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
	$$root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing > /dev/null

.PHONY: brokers
brokers: ## Install the brokers and databases that sources are tested with (BROKERS='kafka redis' for some)
	@e2e/brokers/install.sh $(BROKERS)

.PHONY: deps
deps: $(GOOGLE_PROTOS) ## Print the google/api and google/rpc protos from the Go runtime

$(GOOGLE_PROTOS): $(wildcard proto/*.go) proto/deps/main.go go.mod
	@rm -rf proto/deps/google
	go run ./proto/deps proto/deps
	touch $@

.PHONY: npm
npm: $(NPM_FOLDERS:%=%/node_modules/.package-lock.json) ## Install the npm packages of every lock file

%/node_modules/.package-lock.json: %/package-lock.json
	@npm ci --prefix $* --no-audit --no-fund --loglevel=error
	touch $@

.PHONY: clean
clean: ## Remove what was built and installed, but not gen/ and not data
	@rm -rf bin proto/deps/google $(NPM_FOLDERS:%=%/node_modules)
