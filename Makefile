# otapack. "make demo" runs the main job on real firmware, "make test" passes the tests.

GO        ?= go
FUZZTIME  ?= 30s
BENCHTIME ?= 1s
PREFIX    ?= /usr/local

.PHONY: build test lint demo bench fuzz interop docs clean install

build:
	$(GO) build -trimpath -o bin/otapack ./cmd/otapack

# Everything that has to hold, with the race detector. Installs SoftHSM when it
# is missing.
test:
	scripts/deps test
	$(GO) vet ./...
	$(GO) test -race ./...

# All analyzers in one vet tool; it has a module of its own, so the product's
# go.mod lists no linter.
lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt on these files"; exit 1; }
	cd tools && $(GO) build -o ../bin/lint ./lint
	$(GO) vet -vettool=bin/lint ./...
	cd tools && $(GO) vet ./... && $(GO) test ./...

demo: build
	scripts/deps demo
	scripts/demo

# A reader that shares no code with otapack checks a fresh release.
interop: build
	scripts/deps interop
	scripts/interop

# Benchmarks of every package, and of whole processes.
bench:
	scripts/deps test
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...
	@if command -v openssl >/dev/null; then openssl speed -seconds 1 -bytes 16384 -evp sha256 2>/dev/null | tail -1; openssl speed -seconds 1 -bytes 16384 -evp aes-128-ctr 2>/dev/null | tail -1; fi

# Every fuzz target for FUZZTIME, one after the other.
fuzz:
	scripts/fuzz $(FUZZTIME)

# Generated pages: the command reference and the list of reason codes.
docs:
	$(GO) test ./cmd/otapack -run 'TestDocs' -update

install: build
	install -D bin/otapack $(DESTDIR)$(PREFIX)/bin/otapack

clean:
	rm -rf bin
