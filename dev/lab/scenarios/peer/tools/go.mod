// External Secrets Operator, pinned with go.sum. It is built in its own module's folder, so that its dependencies are
// those of its own go.mod and go.sum; so don't run `go mod tidy` here.
module convercus.io/dev/lab/scenarios/peer/tools

go 1.24.2

require github.com/external-secrets/external-secrets v0.16.2
