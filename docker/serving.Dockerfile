# A serving node: ONNX Runtime, no torch. EXTRAS=serving-gpu brings the CUDA build with its libraries.
#
#   docker build -f docker/serving.Dockerfile -t open-assistant-serving .
#   docker build -f docker/serving.Dockerfile --build-arg EXTRAS=serving-gpu -t open-assistant-serving-gpu .
FROM python:3.11-slim-bookworm
WORKDIR /app
ARG EXTRAS=serving
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 OA_VAR=/var/lib/open-assistant

COPY pyproject.toml constraints.txt ./
RUN mkdir core && touch core/__init__.py README.md \
    && python -m pip install --constraint constraints.txt ".[${EXTRAS}]" && rm -r core
COPY . .
RUN python -m pip install --constraint constraints.txt --no-deps --editable . \
    && useradd --create-home --uid 1000 oa && install -d -o oa /var/lib/open-assistant
USER oa
EXPOSE 8100
CMD ["oa", "serve", "--host", "0.0.0.0", "--port", "8100"]
