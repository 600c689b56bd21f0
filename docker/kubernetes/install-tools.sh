#!/usr/bin/env bash
# Builds Helm and kustomize, and fetches the schemas that manifests are checked against, from the Go module proxy. With
# Go 1.24 or newer. Does nothing when all is there. The tests of the manifests find them in the same folder.
#   docker/kubernetes/install-tools.sh [FOLDER]
set -euo pipefail

folder=${1:-${KBS_KUBERNETES_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/passport-kbs-kubernetes}}
helm=v3.18.6 kustomize=v5.7.1
kubernetes=v0.0.4 cert_manager=v1.19.1 prometheus_operator=v0.85.0 secrets_store=v1.5.3
stamp="helm $helm, kustomize $kustomize, schemas $kubernetes $cert_manager $prometheus_operator $secrets_store"

[ "$(cat "$folder/installed" 2>/dev/null)" = "$stamp" ] && exit
# where Go's own archive puts it
PATH=$PATH:/usr/local/go/bin
command -v go >/dev/null || {
  echo "install-tools.sh: Go is not there, and the tests of the Kubernetes manifests need what it builds: https://go.dev/dl" >&2
  exit 1
}

# until all is there again
rm -f "$folder/installed"
mkdir -p "$folder/bin" "$folder/schemas/custom"
modules=$(mktemp -d)
trap 'rm -rf "$modules"' EXIT

module() { # module PATH@VERSION: the folder with its files
  (cd "$modules" && GOFLAGS=-modcacherw go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'
}

# the OpenAPI documents of Kubernetes 1.30, the oldest version that the manifests are for
rm -rf "$folder/schemas/kubernetes"
cp -r "$(module sigs.k8s.io/kubectl-validate@$kubernetes)/pkg/openapiclient/builtins/1.30" "$folder/schemas/kubernetes"
cp -f "$(module github.com/cert-manager/cert-manager@$cert_manager)/deploy/crds/cert-manager.io_certificates.yaml" \
  "$(module github.com/prometheus-operator/prometheus-operator@$prometheus_operator)/example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml" \
  "$(module sigs.k8s.io/secrets-store-csi-driver@$secrets_store)/config/crd/bases/secrets-store.csi.x-k8s.io_secretproviderclasses.yaml" \
  "$folder/schemas/custom"
chmod -R u+w "$folder/schemas"

build() { # build PATH@VERSION: into bin; what is downloaded is not told of
  GOBIN="$folder/bin" go install "$1" 2> >(grep -v '^go: downloading ' >&2)
}
build "helm.sh/helm/v3/cmd/helm@$helm"
build "sigs.k8s.io/kustomize/kustomize/v5@$kustomize"
echo "$stamp" > "$folder/installed"
