# The pipeline alone: QuestDB and Grafana are images of their own (docker-compose.yml).
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NUMBA_CACHE_DIR=/home/pairflow/.pairflow/numba
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin pairflow
WORKDIR /home/pairflow

COPY requirements.lock ./
RUN pip install --no-cache-dir -r requirements.lock

COPY pyproject.toml README.md LICENSE pipeline.yaml ./
COPY flows flows
COPY operators operators
COPY questdb questdb
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . \
    && mkdir -p .pairflow && chown pairflow:pairflow .pairflow

USER pairflow
VOLUME /home/pairflow/.pairflow
ENTRYPOINT ["pairflow"]
CMD ["run"]
