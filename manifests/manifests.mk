# Included by the Makefile. The scripts take IMAGE, REGISTRY_IMAGE, STARTUP_TAINT, NETWORK_POLICIES, CONTEXT, KUBECONFIG, KUBECTL and TIMEOUT from
# their environment, which is where make puts what stands on its command line. Nothing that is checked in is changed.
.PHONY: install uninstall cleanup install.yaml
install: ## Install on a cluster: IMAGE=... [REGISTRY_IMAGE=...] [STARTUP_TAINT=yes] [NETWORK_POLICIES=yes] [CONTEXT=...] [KUBECONFIG=...]
	@manifests/install.sh

uninstall: ## Delete every registry, wait for the nodes, delete the installation: [CONTEXT=...] [KUBECONFIG=...]
	@manifests/uninstall.sh

cleanup: ## Clean the nodes when the operator is gone for good: IMAGE=... [CONTEXT=...] [KUBECONFIG=...]
	@manifests/cleanup.sh

install.yaml: ## Render manifests/ into the one file manifests/install.yaml
	$(or $(KUBECTL),kubectl) kustomize manifests > manifests/install.yaml
