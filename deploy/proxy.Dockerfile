# The proxy before several exporters.  A file of its own, so that building our image never fetches it.
ARG HAPROXY_VERSION=3.2-alpine
FROM haproxy:${HAPROXY_VERSION} AS proxy
COPY deploy/haproxy.cfg /usr/local/etc/haproxy/haproxy.cfg
