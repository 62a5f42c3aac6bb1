# make build   bin/goaoe, static
# make run     builds it and shows it at work: no hardware, no configuration
# make test    installs what the tests need and runs them all (test/run says which, and takes arguments)
# make bench   side by side with vblade and fio; prints a table and writes it to out/bench (root; BENCHFLAGS=-h tells the flags)
# make fmt     formats the source
# make lint    go vet, and golangci-lint where it is installed

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: build run test bench fmt lint clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X goaoe/internal/cli.Version=$(VERSION)' -o bin/goaoe ./cmd/goaoe

run: build
	bin/goaoe demo

test:
	test/run

bench: build
	go run ./bench $(BENCHFLAGS)

fmt:
	gofmt -w $$(git ls-files '*.go')

lint:
	go vet ./...
	if command -v golangci-lint >/dev/null; then golangci-lint run ./...; fi

clean:
	rm -rf bin out/bench
