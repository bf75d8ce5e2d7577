# SPDX-License-Identifier: Apache-2.0
# "make demo" runs the main job on real firmware, "make test" the tests; "make
# help" lists the rest. What is missing is installed, or named: see scripts/deps.

GO        ?= go
FUZZTIME  ?= 30s
BENCHTIME ?= 1s
PACKAGES  ?= ./...
PREFIX    ?= /usr/local

.PHONY: build demo test modules lint interop consttime cores faults bench fuzz docs vectors man install clean help

## build: bin/otapack
build:
	@scripts/deps build
	$(GO) build -trimpath -o bin/otapack ./cmd/otapack

## demo: keys in a SoftHSM token, two-MCU releases, their verification
demo: build
	@scripts/deps demo
	@scripts/demo

## test: everything that has to hold, under the race detector, and all of the long rehearsals without
test:
	@scripts/deps test
	$(GO) vet ./...
	$(GO) test -race -short ./...
	$(GO) test ./bootloader ./bootloader/swap ./formats/mcuboot
	$(GO) test -run 'TestScript/rehearse|TestDamage' ./cmd/otapack

## modules: package hsm over four PKCS#11 modules: SoftHSM, NSS, a TPM, p11-kit's remote
# As root it puts one file into /etc/pkcs11/modules while it runs, for the test
# program alone: p11-kit reads no other folder then.
modules:
	@scripts/deps modules
	OTAPACK_REQUIRE_MODULES=1 $(GO) test -race -count=1 -run TestModules ./hsm

## lint: gofmt, all analyzers, and the example's firmware against its source
# The analyzers are one vet tool in a module of its own: the product's go.mod
# lists no linter.
lint:
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "gofmt would change:"; echo "$$files"; exit 1; }
	$(GO) build -C tools -o ../bin/lint ./lint
	$(GO) vet -vettool=bin/lint ./...
	$(GO) -C tools vet ./...
	$(GO) -C tools test ./...
	@$(MAKE) --no-print-directory -C examples/toothbrush/motor check host-test

## interop: programs that share no code with otapack read what it makes
interop: build
	@scripts/deps interop
	@scripts/interop

## consttime: what the verifiers do with secrets, under valgrind: no branch and no address may depend on them
# Linux on amd64; elsewhere there is nothing to run. Go is built anew for the tag
# the first time.
consttime:
	@scripts/deps consttime
	$(GO) vet -tags valgrind ./internal/valgrind ./bootloader
	$(GO) test -tags valgrind -count=1 -exec 'valgrind -q --log-file=/dev/null' -run 'TestConstantTime$$' ./bootloader

## cores: the C for bootloaders on an emulated Cortex-M0 and M4: Go's verdicts; what handles secrets leaves one trace; what the decoder of od1 takes there
cores:
	@scripts/deps cores
	$(GO) vet -tags cores ./internal/ctest
	$(GO) test -tags cores -count=1 -v -run 'Cores$$|Cost$$' ./internal/ctest
	$(GO) build -o bin/ ./cmd/otapack ./bootloader/c/answer
	for board in "" microbit netduinoplus2; do bin/otapack -q vectors run --stream --timeout 1m --family suit-stm32l4 bin/answer $$board || exit; done
	bootloader/c/qemu/sizes
	bootloader/c/qemu/secrets
	formats/payload/delta/c/size

## faults: single faults in a verification and its decision to boot, simulated: the hardened ones resist, the controls fall
faults:
	@scripts/deps faults
	bootloader/c/faults/run

## bench: benchmarks of every package and of whole processes (PACKAGES=./sign)
bench:
	@scripts/deps test
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(PACKAGES)
	@! command -v openssl >/dev/null || for primitive in sha256 aes-128-ctr; do \
		openssl speed -seconds 1 -bytes 16384 -evp $$primitive 2>/dev/null | tail -1; \
	done

## fuzz: every fuzz target for FUZZTIME, one after the other (PACKAGES=./sign)
fuzz:
	scripts/fuzz $(FUZZTIME) $(PACKAGES)

## docs: the generated pages, command reference and reason codes
docs:
	$(GO) test ./cmd/otapack -run 'TestDocs' -update

## vectors: the published verdicts in testvectors/verdicts
vectors:
	$(GO) test ./internal/vectors -run 'TestGenerate' -update

## man: manual pages of every command in bin/man
man: build
	rm -rf bin/man
	bin/otapack man bin/man

## install: program, manual pages and shell completion into PREFIX, /usr/local unless given
install: man
	install -D bin/otapack $(DESTDIR)$(PREFIX)/bin/otapack
	for page in bin/man/*/*; do install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/$${page#bin/} || exit; done
	bin/otapack completion bash | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/bash-completion/completions/otapack
	bin/otapack completion zsh | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_otapack
	bin/otapack completion fish | install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/otapack.fish

## clean: remove what was built, and the demo with its token and keys
clean:
	rm -rf bin
	cd examples/toothbrush && rm -rf .otapack dist keys release.json motor/motor.elf
	cd examples/toothbrush-vendor && rm -rf .otapack dist keys release.json

## help: this list
help:
	@sed -n 's/^## /make /p' Makefile
