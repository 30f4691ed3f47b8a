# Included by the Makefile. `python3` of the machine will do: this runs before there is a virtual environment.
CLUSTER := $(PYTHON) -m tests.cluster

.PHONY: cluster down clean distclean
cluster: ## A kind cluster with the operator's and the registry's images: [SOURCE=published|built]
	@$(CLUSTER) up

down: ## Delete the cluster; Docker and everything that was built stays
	@$(CLUSTER) down

clean: ## Leave nothing running, mounted or changed; what was built stays unless ALL=1
	@$(CLUSTER) clean $(if $(ALL),--all)

distclean: ## As clean, and remove what was built and installed as well
	@$(CLUSTER) clean --all
	rm -rf $(VENV)
