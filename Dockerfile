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
    mkdir -p /out/state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/picket /usr/bin/picket
# For the queue of a gateway, which runs as this user. A volume takes its place where it must outlive the container.
COPY --from=build --chown=65532:65532 /out/state /var/lib/picket
# Nobody by default: that is enough for a gateway. An agent is given root and a few capabilities when it is started
# (docs/deployment.md). Capabilities of the file would let it do without root, but no build tool keeps them for sure, and
# no-new-privileges, which it should have, ignores them.
USER 65532:65532
EXPOSE 4317 8888 13133
ENTRYPOINT ["/usr/bin/picket"]
CMD ["--config", "/etc/picket/config.yaml"]
