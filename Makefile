# greengate: the two commands are `make demo` and `make test`.
SHELL := /bin/bash
.DELETE_ON_ERROR:

GO       ?= go
FUZZTIME ?= 3s
TARGETS  := linux/amd64 linux/arm64 linux/arm/7 linux/arm/6
PROGRAMS := gated gatectl gatehub gatesim
export CGO_ENABLED := 0

# The race detector needs a C compiler; a machine without one is told so.
HAVE_CC := $(shell command -v $${CC:-gcc} 2>/dev/null)

.PHONY: help build demo test check unit unit32 fuzz cross bench bench-lists bench-passages bench-qr model powercut rig faults screenshots notices clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

build: ## the four programs, in bin/
	@mkdir -p bin
	@echo "building $(PROGRAMS)"
	@$(GO) build -trimpath -ldflags '-s -w' -o bin/ $(addprefix ./cmd/,$(PROGRAMS))

demo: build ## a hub, a gate and a queue of people, on this machine (DEMO_ONCE=1: ends by itself)
	@bin/gatesim demo $(if $(DEMO_ONCE),-once)

test: check unit unit32 cross fuzz clean-tree skipped ## everything that needs no special machine
	@echo "make test: all passed"

.PHONY: skipped
skipped: # what the tests passed over, for want of what: go test keeps silent about it
	@found=; for b in chromium chromium-browser google-chrome; do type -P $$b >/dev/null && found=1; done; \
	  [ -n "$$found" ] || echo "skipped: the browser tests (no chromium: apt install chromium)"
	@[ -d ../shared/vectors ] || echo "skipped: published test vectors (no ../shared/vectors beside this folder)"
	@type -P strace >/dev/null || echo "skipped: errors of the disk under the lists (no strace: apt install strace)"
	@[ "$$(id -u)" = 0 ] || echo "skipped: the journal on a full disk (mounting a tmpfs takes root)"

check: ## gofmt, vet, staticcheck, go.mod, notices
	@echo "== gofmt, vet, staticcheck"
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "gofmt: $$bad"; exit 1; }
	@$(GO) vet ./...
	@$(GO) tool staticcheck ./...
	@$(GO) mod tidy -diff
	@$(GO) mod verify
	@for m in deploy/listbench deploy/passagebench deploy/powercut deploy/qrbench deploy/rig; do \
	  (cd $$m && $(GO) vet ./... && $$($(GO) -C "$(CURDIR)" tool -n staticcheck) ./... && $(GO) mod tidy -diff) || exit 1; done
	@deploy/notices -check

# What does the same on one goroutine hundreds of times: the race detector would
# see nothing in it and take minutes. These run without it, besides.
ONE_GOROUTINE := ^(TestWriteErrors|TestDamageAnywhere|TestAYearOfDeltas|TestHashDeltas|TestKillDuringInstall|TestCutAnywhereAndRotated|TestAttacks|TestHostile)$$

unit: ## all tests, with the race detector where there is a C compiler
ifneq ($(HAVE_CC),)
	@echo "== tests, with the race detector"
	@CGO_ENABLED=1 $(GO) test -race -skip '$(ONE_GOROUTINE)' -timeout 15m ./...
	@for m in deploy/powercut deploy/qrbench deploy/rig; do (cd $$m && CGO_ENABLED=1 $(GO) test -race ./...) || exit 1; done
	@echo "== tests of one goroutine, without it"
	@$(GO) test -run '$(ONE_GOROUTINE)' ./store ./sync/trust
else
	@echo "== tests (no C compiler here: without the race detector)"
	@$(GO) test -timeout 15m ./...
	@for m in deploy/powercut deploy/qrbench deploy/rig; do (cd $$m && $(GO) test ./...) || exit 1; done
endif

# What starts itself anew, or takes minutes, where every instruction is emulated.
NOT_EMULATED := Kill|DamageAnywhere|WriteErrors|FullDisk|NoEnd|AnotherProcess|AYearOfDeltas|HashDeltas
TESTED32     := ./pass/... ./gate/... ./store/... ./scanner/... ./gpio/... ./sync/upload/... ./sync/enrol/...

unit32: ## the parsers, the lane and the store as 32-bit programs
	@if GOARCH=386 $(GO) run ./cmd/gatectl version >/dev/null 2>&1; then \
	  echo "== tests, 32-bit"; GOARCH=386 $(GO) test -short -timeout 10m $(TESTED32); \
	elif type -P qemu-arm >/dev/null; then \
	  echo "== tests, 32-bit: for ARM under qemu-arm, since this kernel runs no 386 programs"; \
	  GOARCH=arm GOARM=6 $(GO) test -exec qemu-arm -short -skip '$(NOT_EMULATED)' -timeout 15m $(TESTED32); \
	else \
	  echo "== tests, 32-bit: skipped, this machine runs no 386 programs and has no qemu-arm (apt install qemu-user)"; \
	fi

fuzz: ## each fuzz target for FUZZTIME (default 3s)
	@echo "== fuzz, $(FUZZTIME) a target"
	@GO="$(GO)" deploy/fuzz $(FUZZTIME)

cross: ## the programs of a gate and a hub for every target, without cgo
	@for t in $(TARGETS); do \
	  IFS=/ read -r os arch arm <<<"$$t"; echo "== build $$t"; \
	  GOOS=$$os GOARCH=$$arch GOARM=$$arm $(GO) build -trimpath -ldflags '-s -w' -o out/$${arch}$${arm:+v$$arm}/ $(addprefix ./cmd/,$(PROGRAMS)) || exit 1; \
	done

.PHONY: clean-tree
clean-tree: # the tests leave the tree as they found it
	@dirty=$$(git status --porcelain 2>/dev/null); [ -z "$$dirty" ] || [ -n "$(ALLOW_DIRTY)" ] || \
	  { echo "the tree is not clean after the tests:"; echo "$$dirty"; echo "(ALLOW_DIRTY=1 while you are working)"; exit 1; }

bench: build ## figures, each beside its floor in the same run: bench: NAME VALUE UNIT
	@GO="$(GO)" deploy/bench

bench-lists: ## figures of the status lists, some 20 minutes (BENCH_SHORT=1: some 3)
	@GO="$(GO)" deploy/bench-lists

bench-passages: build ## figures of journal, upload and hub, some 15 minutes (BENCH_SHORT=1: one)
	@GO="$(GO)" deploy/bench-passages

bench-qr: ## the reader of QR codes beside zxing-cpp, zbar and gozxing, some 30 minutes (BENCH_SHORT=1: under one)
	@GO="$(GO)" deploy/bench-qr

SEQUENCES ?= 1000000

model: ## a million random lives of the lane against its invariants, a few minutes (SEQUENCES=N, GREENGATE_SEED=N)
	@GREENGATE_SEQUENCES=$(SEQUENCES) $(GO) test -count=1 -timeout 4h -v -run '^TestModel$$' ./gate

powercut: ## cuts the power of journal and hub under QEMU (as root), see deploy/powercut/README.md
	@GO="$(GO)" deploy/powercut/run

rig: ## the gate on an emulated Raspberry Pi, with faults, some 6 minutes (RIG_SHORT=1: under two), see deploy/rig/README.md
	@GO="$(GO)" deploy/rig/run

faults: ## faults between gate and hub, and what happened: docs/faults.md (as root, for full disks)
	@GREENGATE_FAULTS=$(CURDIR)/docs/faults.md $(GO) test -count=1 -run '^TestFaults$$' ./cmd/wire
	@cat docs/faults.md

screenshots: build ## pictures of every page and state, in out/screenshots (needs chromium)
	@mkdir -p out/screenshots
	@GREENGATE_SCREENSHOTS=$(CURDIR)/out/screenshots $(GO) test -count=1 -run 'InABrowser|LastGreen|Screenshots|IndexPage|FleetPage|Contrast|Broken' ./display/web ./sync/hub ./cmd/viewfinder

notices: ## write NOTICES.md anew from the licences of what is linked
	@deploy/notices

clean: ## remove what was built
	@rm -rf bin out
