# make check: everything a change must pass, in some minutes.
# make test:  everything there is; installs what it needs on a fresh machine.

GO ?= go

.PHONY: build generate check test fmt vet lint race sdk e2e setup fuzz clean

build:
	$(GO) build -o bin/ringback ./cmd/ringback

# docs/configuration.md, from the structs of internal/config, and the demo's copy
# of the web SDK.
generate:
	$(GO) generate ./internal/config ./internal/demo/static

check: fmt vet lint race

fmt:
	@bad=$$($(GO) tool gofumpt -l .); if [ -n "$$bad" ]; then echo "gofumpt would change:"; echo "$$bad"; exit 1; fi

vet:
	$(GO) vet -tags e2e ./...

lint:
	$(GO) tool staticcheck -tags e2e ./...

race:
	$(GO) test -race -shuffle=on ./...

setup:
	@./scripts/setup

test: setup check sdk e2e

# The web SDK by itself: types, units, and that its browser build is current.
sdk:
	RINGBACK_TEST_REQUIRE=$${RINGBACK_TEST_REQUIRE:-browser,node,python,php} ./scripts/sdk

# The built binary from outside, the demo page and the web SDK in a real
# browser, and the example receivers.
e2e:
	RINGBACK_TEST_REQUIRE=$${RINGBACK_TEST_REQUIRE:-browser,node,python,php,postgres} $(GO) test -tags e2e -count=1 -timeout 20m ./e2e/...

# A short run of every fuzz target.
FUZZTIME ?= 20s
fuzz:
	$(GO) test ./internal/call -run '^$$' -fuzz . -fuzztime $(FUZZTIME)
	$(GO) test ./internal/auth -run '^$$' -fuzz . -fuzztime $(FUZZTIME)
	$(GO) test ./internal/wire -run '^$$' -fuzz . -fuzztime $(FUZZTIME)
	$(GO) test ./internal/ws -run '^$$' -fuzz . -fuzztime $(FUZZTIME)
	$(GO) test ./callback -run '^$$' -fuzz . -fuzztime $(FUZZTIME)

clean:
	rm -rf bin
