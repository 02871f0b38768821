# The operator as one bundled file on a base with nothing but Node: no shell, no package manager, no root.
# Same input, same layers: files carry a fixed time, and permissions that don't depend on the umask of the checkout.
# (For the same image digest too, fix the time of its history: `buildah build --timestamp 0`, or SOURCE_DATE_EPOCH=0
# with BuildKit.)
# Tags, so that a local build gets fixes. A release passes both with a digest that was verified (docs/adr/0033).
ARG BUILD_IMAGE=docker.io/library/node:26-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs26-debian13:nonroot

# What is built is the same for every platform, so an image for another one needs no emulation.
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc LICENSE ./
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY dev/bundle.ts dev/bundled-packages.ts dev/sbom.ts dev/
COPY src src
RUN node dev/bundle.ts \
  && mkdir -p /image/app/bundle \
  && cp package.json LICENSE /image/app/ \
  && cp bundle/* /image/app/bundle/ \
  && chmod -R u=rwX,go=rX /image \
  && find /image -exec touch -h -d '1980-01-01 00:00:00' {} +

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="convercus-operator" \
      org.opencontainers.image.description="Keeps Convercus API access tokens fresh in Kubernetes Secrets" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
WORKDIR /app
USER 65532:65532
EXPOSE 8080 8081
# Less memory for little more work of the garbage collector; docs/scaling.md has the figures.
ENV MALLOC_ARENA_MAX=1
# No debugger, no code from text; files are read and connections made, and nothing else: no file is written, no process,
# thread or native library started. What is read (certificates, kubeconfig) may be anywhere. Node warns that --allow-net is
# experimental, in a line that is no JSON.
ENTRYPOINT ["/nodejs/bin/node", "--max-semi-space-size=8", "--no-parallel-scavenge", "--disable-sigusr1", "--disable-proto=delete", "--disallow-code-generation-from-strings", "--permission", "--allow-net", "--allow-fs-read=*", "--disable-warning=ExperimentalWarning", "/app/bundle/main.js"]
