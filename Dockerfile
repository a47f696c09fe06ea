# obsctl with its programs for the cluster: alert-sink, the warden and the demo services.
# `make images` builds it. The wheels come from outside, so the build needs no network.
ARG BASE=python:3.13.11-slim-bookworm

FROM ${BASE} AS build
COPY wheels /wheels
RUN python3 -m venv --without-pip /opt/obsctl \
 && python3 -m pip --python /opt/obsctl/bin/python3 install --no-index --find-links=/wheels --no-cache-dir 'obsctl[demo]'

FROM ${BASE}
ARG VERSION
LABEL org.opencontainers.image.title="obsctl" \
      org.opencontainers.image.description="alert-sink, warden and demo services of an observability stack on Nomad and Consul" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# Without a shell tool for it, so that any base with Python will do.
RUN echo 'obsctl:x:10001:' >> /etc/group \
 && echo 'obsctl:x:10001:10001::/home/obsctl:/sbin/nologin' >> /etc/passwd \
 && mkdir -p /home/obsctl /data \
 && chown 10001:10001 /home/obsctl /data
COPY --from=build /opt/obsctl /opt/obsctl
USER 10001:10001
WORKDIR /home/obsctl
ENTRYPOINT ["/opt/obsctl/bin/obsctl"]
