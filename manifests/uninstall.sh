#!/usr/bin/env bash
# Takes everything away in the order that leaves nothing behind on a node: `make uninstall`.
#
#   CONTEXT  the context of the kubeconfig; default: the current one
#   KUBECTL  the kubectl to use; default: the one in PATH
#   TIMEOUT  seconds to wait for the registries, and then for the nodes; default: 180
set -euo pipefail
cd "$(dirname "$0")/.."
timeout=${TIMEOUT:-180}

kubectl() { command "${KUBECTL:-kubectl}" ${CONTEXT:+--context="$CONTEXT"} "$@"; }

installed() { [ -n "$(kubectl get --ignore-not-found --output=name "crd/$1.privateregistry.dev")" ]; }

trusting() { # the nodes whose agent has not reported that they trust no registry any more, sorted
  kubectl get nodetrusts --output=go-template='{{range .items}}{{$name := .metadata.name}}{{with .status}}{{if .registries}}{{$name}}
{{end}}{{end}}{{end}}' | sort
}

not_ready() { # the nodes that can do nothing now, sorted
  kubectl get nodes --output=jsonpath='{range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' |
    awk '$2 != "True" {print $1}' | sort
}

if installed privateregistries; then
  echo "[1/4] Registries, in all namespaces. Volumes are kept, unless a registry says reclaimPolicy: Delete."
  kubectl get privateregistries --all-namespaces
  kubectl delete privateregistries --all --all-namespaces --wait=false
  if ! kubectl wait --for=delete privateregistries --all --all-namespaces --timeout="${timeout}s"; then
    kubectl get privateregistries --all-namespaces --output=wide >&2
    echo "These are still there after $timeout s. Nothing else was deleted: the operator has to run to let go of them." >&2
    exit 1
  fi
fi

if installed nodetrusts; then
  echo "[2/4] Waiting until no node trusts a registry any more."
  deadline=$((SECONDS + timeout))
  while true; do
    # Assigned one by one, so that an error of kubectl ends this script and is not taken for an empty answer.
    trusting=$(trusting)
    absent=$(not_ready)
    waiting=$(comm -23 <(echo "$trusting") <(echo "$absent"))
    [ -n "$waiting" ] || break
    if [ $SECONDS -ge $deadline ]; then
      kubectl get nodetrusts >&2
      echo "After $timeout s these nodes still trust a registry, and nothing else was deleted:" $waiting >&2
      exit 1
    fi
    sleep 1
  done
  if [ -n "$trusting" ]; then
    echo "These nodes are not Ready and keep what they have; should they come back, manifests/cleanup cleans them:" $trusting >&2
  fi
fi

echo "[3/4] The installation."
kubectl delete --ignore-not-found -k manifests/managing-agents
kubectl delete --ignore-not-found -k manifests/agents
kubectl delete --ignore-not-found -f manifests/operator.yaml -f manifests/startup-taint/rbac.yaml \
  -f manifests/rbac.yaml -f manifests/policies.yaml -f manifests/namespaces.yaml

echo "[4/4] The custom resource definitions."
kubectl delete --ignore-not-found -f crds/privateregistries.yaml -f crds/nodetrusts.yaml

echo "Uninstalled. Volumes of registries that were kept:"
kubectl get persistentvolumeclaims --all-namespaces --selector=app.kubernetes.io/managed-by=private-registry-operator
