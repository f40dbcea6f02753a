# Tenantry. `make` alone says what there is; every target installs what it needs first.

export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
# Node keeps what it has compiled: the programs start sooner and hold 30 MiB less, since the TypeScript compiler need not be loaded.
export NODE_COMPILE_CACHE := $(CURDIR)/node_modules/.cache/node
SHELL := /bin/bash
.DEFAULT_GOAL := help
# npm writes this file last whenever it installs.
INSTALLED := node_modules/.package-lock.json

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# npm may run on an older Node; everything else runs on the Node 24 that it installs.
$(INSTALLED): package-lock.json
	npm ci --no-audit --no-fund
	@for program in operator runtime; do node $$program/main.ts --help > /dev/null; done
	@touch $@

.PHONY: up down clean logs
up: $(INSTALLED) ## Start the whole platform on this machine, or what is missing of it
	@node config/local/main.ts up

down: $(INSTALLED) ## Stop the platform; its data is kept
	@node config/local/main.ts down

clean: $(INSTALLED) ## Stop the platform and remove its data
	@node config/local/main.ts clean

logs: $(INSTALLED) ## Follow the logs of all its parts
	@node config/local/main.ts logs

.PHONY: test check unit integration e2e
test: $(INSTALLED) ## Run every check and test; one file: make test FILE=runtime/http
	@node test/run.ts $(or $(FILE),check unit integration e2e)

check: $(INSTALLED) ## Look at format, lint, types, layers, dead code, CRDs and names
	@node test/run.ts check

unit: $(INSTALLED) ## Run the tests that need no server
	@node test/run.ts unit

integration: $(INSTALLED) ## Run the tests against real servers
	@node test/run.ts integration

e2e: $(INSTALLED) ## Run the tests of the whole platform; CLUSTER=current: on the cluster of the current kubeconfig, as cluster-up
	@node test/run.ts e2e $(and $(CLUSTER),cluster)

.PHONY: images sbom manifests
images: $(INSTALLED) ## Build both images with docker; BASE_IMAGE: what they stand on
	@node config/kubernetes/main.ts images

sbom: $(INSTALLED) ## Write what the images are made of to build/sbom.json (CycloneDX)
	@mkdir -p build
	@npm sbom --sbom-format cyclonedx --sbom-type application --omit dev --package-lock-only > build/sbom.json
	@echo build/sbom.json

manifests: $(INSTALLED) ## Hold all overlays and the chart to kube-score and kubeconform, which Go installs with Helm 3 and 4
	@node test/check/kubernetes.ts

.PHONY: kind-up kind-down cluster-up
kind-up: $(INSTALLED) ## Start the whole platform on a kind cluster of its own
	@node config/kubernetes/main.ts kind-up

kind-down: $(INSTALLED) ## Remove the kind cluster with everything in it
	@node config/kubernetes/main.ts kind-down

cluster-up: $(INSTALLED) ## The same on the cluster of the current kubeconfig; IMAGE_LOAD: the shell command that brings $$IMAGE to its nodes
	@node config/kubernetes/main.ts up

.PHONY: client dashboards chart
client: $(INSTALLED) ## Write the types of the TypeScript client anew
	@node test/check/client.ts

dashboards: $(INSTALLED) ## Write the dashboards anew
	@node config/kubernetes/monitoring/main.ts

chart: $(INSTALLED) ## Write the Helm chart anew, of the manifests; needs kubectl
	@node config/kubernetes/chart/main.ts

.PHONY: bench
bench: $(INSTALLED) ## Measure against the peers; one line: make bench ONLY=tenant-read
	@node test/bench/main.ts $(ONLY)
