#!/usr/bin/env bash
# Cleans every node of what agents wrote, when there is no operator any more: `make cleanup IMAGE=...`.
#
#   IMAGE    the operator's image, as the nodes are to pull it or have it already
#   CONTEXT  the context of the kubeconfig; default: the current one
#   KUBECTL  the kubectl to use; default: the one in PATH
#   TIMEOUT  seconds to wait for the nodes; default: 180
set -euo pipefail
cd "$(dirname "$0")/.."
: "${IMAGE:?names the image of the operator, for example IMAGE=registry.example.com/private-registry-operator:0.1.0}"

kubectl() { command "${KUBECTL:-kubectl}" ${CONTEXT:+--context="$CONTEXT"} "$@"; }

if [ -n "$(kubectl --namespace=private-registry-nodes get --ignore-not-found --output=name daemonset/private-registry-agent)" ]; then
  echo "The agents are still installed, and would write everything anew: make uninstall." >&2
  exit 1
fi

overlay=$(mktemp -d ./.cleanup.XXXXXX)
trap 'rm -rf "$overlay"' EXIT
cat > "$overlay/kustomization.yaml" <<EOF
resources: [../manifests/cleanup]
patches:
  - target: {kind: DaemonSet}
    patch: |
      [{"op": "replace", "path": "/spec/template/spec/initContainers/0/image", "value": "$IMAGE"},
       {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "$IMAGE"}]
EOF
kubectl apply -k "$overlay"
if ! kubectl --namespace=private-registry-cleanup rollout status daemonset/private-registry-cleanup --timeout="${TIMEOUT:-180}s"; then
  kubectl --namespace=private-registry-cleanup get pods --output=wide >&2
  echo "Not every node is clean yet. The pods stay and go on: run this again, or kubectl delete -k manifests/cleanup." >&2
  exit 1
fi
kubectl --namespace=private-registry-cleanup logs --selector=app.kubernetes.io/component=cleanup --container=cleanup --prefix --tail=1
kubectl delete -k "$overlay"
echo "Every node is as it was before there were registries."
