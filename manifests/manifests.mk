# Included by the Makefile. IMAGE, REGISTRY_IMAGE, CONTEXT, KUBECONFIG and KUBECTL are taken from the command line or the
# environment; nothing that is checked in is changed.
export IMAGE REGISTRY_IMAGE CONTEXT KUBECTL

.PHONY: install uninstall install.yaml
install: ## Install on a cluster: IMAGE=... [REGISTRY_IMAGE=...] [CONTEXT=...] [KUBECONFIG=...]
	@manifests/install.sh

uninstall: ## Delete every registry, wait for the nodes, delete the installation: [CONTEXT=...] [KUBECONFIG=...]
	@manifests/uninstall.sh

install.yaml: ## Render manifests/ into the one file manifests/install.yaml
	$(or $(KUBECTL),kubectl) kustomize manifests > manifests/install.yaml
