#!/usr/bin/env bash
# Installs the operator with an image of yours and waits until it runs: `make install IMAGE=...`.
#
#   IMAGE           the operator's image, as the nodes are to pull it or have it already
#   REGISTRY_IMAGE  the image of registries that name none; default: the operator's
#   STARTUP_TAINT   set to anything: with manifests/startup-taint, see docs/nodes.md
#   NETWORK_POLICIES  set to anything: with manifests/network-policies
#   CONTEXT         the context of the kubeconfig; default: the current one
#   KUBECTL         the kubectl to use; default: the one in PATH
#   TIMEOUT         seconds to wait for the operator, and then for the agents; default: 180
#
# Installing again with another image is the upgrade.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${IMAGE:?names the image of operator and agents, for example IMAGE=registry.example.com/private-registry-operator:0.1.0}"

kubectl() { command "${KUBECTL:-kubectl}" ${CONTEXT:+--context="$CONTEXT"} "$@"; }

minor=$(kubectl get --raw /version | grep -o '"minor": *"[0-9]*' | grep -o '[0-9]*$')
if [ "$minor" -lt 30 ]; then
  echo "This cluster runs Kubernetes 1.$minor; the operator needs 1.30 or newer (admission policies)." >&2
  exit 1
fi

# An overlay of its own, because kustomize takes bases from relative paths only and the images are not to be checked in.
overlay=$(mktemp -d ./.install.XXXXXX)
trap 'rm -rf "$overlay"' EXIT
container=/spec/template/spec/containers/0
cat > "$overlay/kustomization.yaml" <<END
resources: [../manifests]
components: [${STARTUP_TAINT:+../manifests/startup-taint, }${NETWORK_POLICIES:+../manifests/network-policies}]
patches:
  - target: {kind: Deployment}
    patch: '[{"op": "replace", "path": "$container/image", "value": "$IMAGE"}]'
  - target: {kind: DaemonSet}
    patch: '[{"op": "replace", "path": "$container/image", "value": "$IMAGE"}]'
END
if [ -n "${REGISTRY_IMAGE:-}" ]; then
  cat >> "$overlay/kustomization.yaml" <<END
  - target: {kind: Deployment}
    patch: '[{"op": "add", "path": "$container/args/-", "value": "--registry-image=$REGISTRY_IMAGE"}]'
END
fi

kubectl apply -k "$overlay"
kubectl wait --for=condition=Established --timeout=1m -f crds/privateregistries.yaml -f crds/nodetrusts.yaml

running() { # NAMESPACE WORKLOAD
  kubectl --namespace="$1" rollout status "$2" --timeout="${TIMEOUT:-180}s" && return
  echo "$2 does not run yet. Its pods, and what the cluster says of them:" >&2
  kubectl --namespace="$1" get pods --output=wide >&2
  kubectl --namespace="$1" get events --field-selector=type=Warning --sort-by=.lastTimestamp | tail -n 10 >&2
  return 1
}
running private-registry-system deployment/private-registry-operator
running private-registry-nodes daemonset/private-registry-agent
running private-registry-nodes daemonset/private-registry-agent-managing
echo "Installed. A first registry: kubectl apply -f manifests/examples/smallest.yaml; kubectl get preg,nodetrust -A"
