# The example app with the agent, for compose.yaml.
FROM rust:1.91-slim-bookworm AS rust

FROM python:3.12-bookworm AS build
COPY --from=rust /usr/local/rustup /usr/local/rustup
COPY --from=rust /usr/local/cargo /usr/local/cargo
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH
WORKDIR /src
COPY . .
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM python:3.12-slim-bookworm
COPY --from=build /wheels /wheels
COPY examples/fastapi_app /app
RUN pip install --no-cache-dir /wheels/*.whl --requirement /app/requirements.txt \
    && useradd --system --uid 10001 --no-create-home app
USER 10001:10001
WORKDIR /app
EXPOSE 8401
CMD ["uvicorn", "main:app", "--host", "0.0.0.0", "--port", "8401"]
