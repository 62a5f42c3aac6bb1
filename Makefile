# make build   bin/goaoe, static
# make run     builds it and shows it at work: no hardware, no configuration
# make test    installs what the tests need and runs them all (test/run says which, and takes arguments)
# make soak    looks for rare mistakes for a long time (SOAK=8h; test/soak says what); not part of make test
# make evidence runs what shows that goaoe keeps its promises, and writes docs/evidence.md (an hour, as root)
# make bench   side by side with vblade, nbdkit and fio: goals and verdicts, in out/bench (root; on a quiet machine; BENCHFLAGS=-h tells the flags)
# make bench-guest  the same for a Linux initiator in an emulated guest, against vblade: fio, mkfs, untar
# make man     the manual pages, in man/
# make deb     a Debian package for this kind of machine in out/packages; make rpm: an RPM; make container: an OCI image
#              (ARCH=arm64 or ARCH=armv7 for another processor)
# make release tarballs for amd64, arm64 and armv7 with checksums in out/release
# make fmt     formats the source
# make lint    go vet, and golangci-lint where it is installed

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

ARCH := amd64

.PHONY: build run test soak evidence bench bench-guest man deb rpm container release fmt lint clean

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X goaoe/internal/cli.Version=$(VERSION)' -o bin/goaoe ./cmd/goaoe

run: build
	bin/goaoe demo

test:
	test/run

soak:
	test/soak $(SOAK)

evidence:
	go run ./test/evidence

bench: build
	go run ./bench $(BENCHFLAGS)

bench-guest: build
	go run ./bench -guest -out out/bench-guest $(BENCHFLAGS)

man: build
	rm -rf man
	bin/goaoe man man

deb rpm:
	dist/package $@ $(ARCH)

container:
	dist/image $(ARCH)

release:
	dist/release

fmt:
	gofmt -w $$(git ls-files '*.go')

lint:
	go vet ./...
	if command -v golangci-lint >/dev/null; then golangci-lint run ./...; fi

clean:
	rm -rf bin man out/bench out/bench-guest out/stage out/packages out/release
