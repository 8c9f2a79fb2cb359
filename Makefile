# What a developer does here. Only Go is needed; Java and Maven add the tests
# against Apache RocketMQ, and the comparison in `make bench`.
GO ?= go

.PHONY: build test race lint bench soak fuzz-short images clean

build: ## the programs, into bin/
	$(GO) build -o bin/ ./cmd/...

test: ## everything once; tests that need Java are skipped where there is none
	$(GO) test ./...

race: ## everything under the race detector, Java left out
	$(GO) test -race -short -timeout 15m ./...

lint: bin/golangci-lint ## vet, format and linters, pinned in .ci/tools/go.mod
	$(GO) vet ./...
	bin/golangci-lint run ./...

bin/golangci-lint: .ci/tools/go.mod .ci/tools/go.sum
	cd .ci/tools && $(GO) build -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint

bench: ## Go against Java, alternating, medians and ratios; needs Java, takes some minutes
	$(GO) run ./test/bench

soak: ## the long tests, which print what they counted
	$(GO) test -tags soak -timeout 120m -v -run Soak ./...

FUZZTIME ?= 10s
fuzz-short: ## every fuzz target for FUZZTIME
	@set -e; for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
	    echo "$$package $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
	  done; \
	done

images: build ## the pictures of the README, from a real run; on a quiet machine
	rm -rf bin/images && mkdir -p docs/images
	$(GO) run ./test/picture -o docs/images/live.svg -rows 12 -at 'phase +[0-9]/[0-9] rush .* [4-9][0-9]%' -- \
	  bin/rmqbench run flashsale.yaml --out bin/images
	$(GO) run ./test/picture -o docs/images/report.svg -first 34 -- bin/rmqbench report bin/images
	cp bin/images/latency.svg bin/images/rate.svg bin/images/lag.svg bin/images/percentiles.svg docs/images/

clean:
	rm -rf bin
