# One image for the operator and for the agents.
# The base image needs python3 >= 3.11 with pip; the classic builder (DOCKER_BUILDKIT=0) can build this as well.
ARG BASE_IMAGE=python:3.13-slim-bookworm@sha256:67a1e1f215ccda113cfc024e8639049257e88f273898f595b61476d128d387e8
FROM ${BASE_IMAGE}

# Where packages come from, if not from pip's own default: --build-arg PIP_INDEX_URL=...
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST

# Dependencies first: a change of the source rebuilds only what comes after them.
COPY requirements.lock /tmp/requirements.lock
RUN python3 -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
      --require-hashes --only-binary=:all: --target /opt/private-registry -r /tmp/requirements.lock

# The root filesystem is read-only when this runs, so bytecode is made here.
COPY operator/private_registry /opt/private-registry/private_registry
RUN python3 -m compileall -q /opt/private-registry/private_registry

# What it was built on: the SBOM tells it.
ARG BASE_IMAGE
LABEL org.opencontainers.image.base.name=${BASE_IMAGE}

ENV PYTHONPATH=/opt/private-registry PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["python3", "-m", "private_registry"]
