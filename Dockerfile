# Copyright The Picket Authors
# SPDX-License-Identifier: Apache-2.0
#
# An image with one static binary and the certificates of public CAs, nothing else.
#   docker build -t picket .                                                # builder-config.yaml
#   docker build -t picket-full --build-arg DISTRIBUTION=picket-full --build-arg MANIFEST=builder-config.full.yaml .
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG MANIFEST=builder-config.yaml
# dist.name of the manifest, which is also where it generates the sources.
ARG DISTRIBUTION=picket
ARG TARGETOS=linux
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
COPY internal/tools/go.mod internal/tools/go.sum internal/tools/
RUN go mod download && go mod download -modfile=internal/tools/go.mod
COPY . .
RUN mkdir -p _build && \
    go tool -modfile=internal/tools/go.mod builder --config "$MANIFEST" --skip-compilation --skip-strict-versioning=false && \
    cd "_build/$DISTRIBUTION" && \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -ldflags="-s -w" -mod=mod -o /out/picket . && \
    mkdir -p -m 0770 /out/state/picket

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/picket /usr/bin/picket
# /var/lib/picket, for the queue. An empty volume that takes its place gets its owner and mode from Docker. A gateway is its owner. An
# agent is root without CAP_DAC_OVERRIDE, which can write to what is another's only as everybody else can: group 0 may write too. The
# directory is a part of what is copied, because the mode of the one that is copied itself would be lost.
COPY --from=build --chown=65532:0 /out/state /var/lib
# Nobody by default: that is enough for a gateway. An agent is given root and a few capabilities when it is started
# (docs/deployment.md). Capabilities of the file would let it do without root, but no build tool keeps them for sure, and
# no-new-privileges, which it should have, ignores them.
USER 65532:65532
EXPOSE 4317 8888 13133
ENTRYPOINT ["/usr/bin/picket"]
CMD ["--config", "/etc/picket/config.yaml"]
