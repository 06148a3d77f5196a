# The image: one static program and its licence, nothing else. docs/image.md says how to build it.
#
#     docker buildx build --platform linux/amd64,linux/arm64 -t registry.example/airside:0.1.0 --push .
#
# Where a binary is at hand, `--build-context build=FOLDER` takes FOLDER/airside in place of the first
# two stages, and nothing is pulled or compiled (`make image`).

# zig is clang with musl for every processor: aws-lc and mimalloc are C. Its package needs no Python.
FROM --platform=$BUILDPLATFORM python:3.13-slim-bookworm AS zig
ARG ZIG=0.15.2
RUN pip install --no-cache-dir --target /zig "ziglang==$ZIG"

FROM --platform=$BUILDPLATFORM rust:1.95-slim-bookworm AS compiler
COPY --from=zig /zig/ziglang /opt/zig
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY config config
COPY image image
COPY src src
COPY tests tests
ARG TARGETARCH
RUN rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl \
    && ZIG=/opt/zig/zig image/binary.sh "$TARGETARCH" /built/airside

FROM scratch AS build
COPY --from=compiler /built/airside /airside

FROM scratch
COPY --chown=0:0 --chmod=0444 LICENSE /LICENSE
# Owned by root and written by nobody: the process cannot change what it runs.
COPY --from=build --chown=0:0 --chmod=0555 /airside /airside

ARG VERSION=0.1.0
# Where the source is and its commit; the date of the build is no part of the file, because no two
# builds would be the same: add it with `--label org.opencontainers.image.created=…`.
ARG SOURCE=""
ARG REVISION=""
LABEL org.opencontainers.image.title="airside" \
      org.opencontainers.image.description="A JWT-authenticating reverse proxy that lets Microsoft Entra ID tokens reach stock Apache Airflow as the right user" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.revision="$REVISION"

# The kubelet probes from outside the container. An empty value gives way to the file's admin.listen.
ENV AIRSIDE_ADMIN_LISTEN=0.0.0.0:9090
# By number, because `runAsNonRoot` cannot look up a name; not in use by Airflow (50000).
USER 65532:65532
EXPOSE 8080 9090
# SIGTERM drains, whatever the runtime's default is.
STOPSIGNAL SIGTERM
# Read by docker and podman; Kubernetes has probes of its own, and OCI's format has no place for it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 \
    CMD ["/airside", "healthcheck"]
ENTRYPOINT ["/airside"]
CMD ["serve"]
