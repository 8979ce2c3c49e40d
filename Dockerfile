# One image, two services: `deckrails exporter`, `deckrails allocator`; the target `demo` adds the replay engine.
# No compiler, no root, nothing that is not in requirements/server.txt with its hash.
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS wheels
# The lock alone, so that a change of our code downloads nothing.
COPY requirements/server.txt /tmp/server.txt
# What the packages bring for their own tests is left out.  The root is read-only when it runs, so what can be
# compiled is compiled here.
RUN python -m venv --without-pip /opt/deckrails \
 && python -m pip --python /opt/deckrails/bin/python install --no-cache-dir --no-compile --no-deps \
      --require-hashes --only-binary :all: -r /tmp/server.txt \
 && find /opt/deckrails/lib -type d \( -name tests -o -name test \) -prune -exec rm -r {} + \
 && python -m compileall -q /opt/deckrails/lib
COPY deckrails /app/deckrails
COPY riskrails /app/riskrails
COPY allocator /app/allocator
COPY exporter /app/exporter
COPY deploy/healthcheck.py deploy/entry.sh /app/deploy/
RUN python -m compileall -q /app && chmod 755 /app/deploy/entry.sh

FROM python:${PYTHON_VERSION}-slim AS deck
# A named volume takes the owner of the directory it covers.
RUN mkdir -p /app/data && chown 10001:10001 /app/data && chmod 700 /app/data
COPY --from=wheels /opt/deckrails /opt/deckrails
COPY --from=wheels /app /app
ENV PATH=/opt/deckrails/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
EXPOSE 8002 8003
HEALTHCHECK --interval=5s --timeout=10s --start-period=30s --retries=6 \
  CMD ["python", "/app/deploy/healthcheck.py", "http://127.0.0.1:8002/-/ready"]
ENTRYPOINT ["/app/deploy/entry.sh"]
CMD ["exporter"]

FROM deck AS demo
USER root
RUN mkdir -p /app/spool && chown 10001:10001 /app/spool && chmod 700 /app/spool
COPY examples /app/examples
USER 10001:10001
CMD ["examples.replay_engine"]
