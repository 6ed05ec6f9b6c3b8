# The API, as a container or as a Lambda function behind a function URL.
#
#   docker build -f docker/api.Dockerfile -t open-assistant-api .
#
# On Lambda the same image runs behind the Lambda Web Adapter, an extension that turns invocations into HTTP requests to
# port 8000 and streams the answers; it does nothing elsewhere. Function settings: AWS_LWA_INVOKE_MODE=RESPONSE_STREAM,
# AWS_LWA_READINESS_CHECK_PATH=/healthz, OA_TRUSTED_PROXIES=127.0.0.1 (the adapter, which passes on whose the request is),
# OA_SWEEP_SECONDS=0 with one long-running copy of the API that sweeps. A function URL carries HTTP and SSE; WebSocket
# clients need a container.
FROM public.ecr.aws/awsguru/aws-lambda-adapter:0.9.1 AS adapter

# GraphiQL for the page at /graphql: four files, which the API holds to the byte (api/graphiql.py).
FROM node:20.19-bookworm-slim AS graphiql
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
COPY Makefile ./
RUN make graphiql GRAPHIQL=/opt/graphiql

FROM python:3.11-slim-bookworm
COPY --from=adapter /lambda-adapter /opt/extensions/lambda-adapter
COPY --from=graphiql /opt/graphiql /opt/graphiql
WORKDIR /app
ARG EXTRAS=api
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 PORT=8000 OA_VAR=/var/lib/open-assistant OA_GRAPHIQL=/opt/graphiql

# Dependencies first: they change less often than the code, and layers above a change are kept.
COPY pyproject.toml constraints.txt ./
RUN mkdir core && touch core/__init__.py README.md \
    && python -m pip install --constraint constraints.txt ".[${EXTRAS}]" && rm -r core
COPY . .
# Compiled here, since it is not at run time: a cold start would compile the code each time.
RUN python -m pip install --constraint constraints.txt --no-deps --editable . \
    && python -m compileall -q api core graphql_schema \
    && useradd --create-home --uid 1000 oa && install -d -o oa /var/lib/open-assistant
USER oa
EXPOSE 8000
CMD ["python", "-m", "api.server", "--host", "0.0.0.0", "--port", "8000", "--grace", "25"]
