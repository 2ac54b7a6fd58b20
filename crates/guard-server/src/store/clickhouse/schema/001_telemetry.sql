CREATE TABLE IF NOT EXISTS events {on_cluster} (
    project Int64,
    timestamp DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    key UInt128,
    arrival UInt64 CODEC(Delta, ZSTD),
    version UInt64 MATERIALIZED bitNot(arrival) CODEC(Delta, ZSTD),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    install_id LowCardinality(Nullable(String)),
    event_type LowCardinality(String),
    action_taken LowCardinality(Nullable(String)),
    method LowCardinality(Nullable(String)),
    country LowCardinality(Nullable(String)),
    endpoint LowCardinality(Nullable(String)),
    ip_address Nullable(String) CODEC(ZSTD),
    reason Nullable(String) CODEC(ZSTD),
    user_agent Nullable(String) CODEC(ZSTD),
    status_code Nullable(Int64) CODEC(ZSTD),
    response_time Nullable(Float64) CODEC(ZSTD),
    rule_type LowCardinality(Nullable(String)),
    decorator_type LowCardinality(Nullable(String)),
    handler_name LowCardinality(Nullable(String)),
    pattern_matched LowCardinality(Nullable(String)),
    threat_score Nullable(Int64) CODEC(ZSTD),
    rule_id LowCardinality(Nullable(String)),
    rule_version Nullable(Int64) CODEC(ZSTD),
    service_name LowCardinality(Nullable(String)),
    environment LowCardinality(Nullable(String)),
    guard_project LowCardinality(Nullable(String)),
    recent_event_count Nullable(Int64) CODEC(ZSTD),
    correlation_key Nullable(String) CODEC(ZSTD),
    traceparent Nullable(String) CODEC(ZSTD),
    untyped Map(UInt8, String) CODEC(ZSTD),
    metadata Map(LowCardinality(String), String) CODEC(ZSTD),
    body String CODEC(ZSTD(3)),
    size UInt32 MATERIALIZED toUInt32(length(body)) CODEC(ZSTD),
    INDEX arrived arrival TYPE minmax GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree(version)
PARTITION BY if(timestamp >= '2020-01-01 00:00:00' AND timestamp < '2100-01-01 00:00:00', toYYYYMMDD(timestamp), 0)
ORDER BY (project, timestamp, key)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS metrics {on_cluster} (
    project Int64,
    timestamp DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    key UInt128,
    arrival UInt64 CODEC(Delta, ZSTD),
    version UInt64 MATERIALIZED bitNot(arrival) CODEC(Delta, ZSTD),
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    install_id LowCardinality(Nullable(String)),
    metric_type LowCardinality(String),
    endpoint LowCardinality(Nullable(String)),
    method LowCardinality(Nullable(String)),
    status Nullable(Int64) CODEC(ZSTD),
    value Nullable(Float64) CODEC(ZSTD),
    threat_score Nullable(Int64) CODEC(ZSTD),
    rule_id LowCardinality(Nullable(String)),
    rule_version Nullable(Int64) CODEC(ZSTD),
    service_name LowCardinality(Nullable(String)),
    environment LowCardinality(Nullable(String)),
    guard_project LowCardinality(Nullable(String)),
    recent_event_count Nullable(Int64) CODEC(ZSTD),
    correlation_key Nullable(String) CODEC(ZSTD),
    traceparent Nullable(String) CODEC(ZSTD),
    untyped Map(UInt8, String) CODEC(ZSTD),
    tags Map(LowCardinality(String), String) CODEC(ZSTD),
    body String CODEC(ZSTD(3)),
    size UInt32 MATERIALIZED toUInt32(length(body)) CODEC(ZSTD)
)
ENGINE = {replicated}ReplacingMergeTree(version)
PARTITION BY if(timestamp >= '2020-01-01 00:00:00' AND timestamp < '2100-01-01 00:00:00', toYYYYMMDD(timestamp), 0)
ORDER BY (project, timestamp, key)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS cutoffs {on_cluster} (
    project Int64,
    events SimpleAggregateFunction(max, Int64),
    metrics SimpleAggregateFunction(max, Int64),
    rollups SimpleAggregateFunction(max, Int64),
    removed SimpleAggregateFunction(maxMap, Map(UInt8, UInt64))
)
ENGINE = {replicated}AggregatingMergeTree
ORDER BY project
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS left_out {on_cluster} (
    project Int64,
    events UInt64,
    metrics UInt64
)
ENGINE = {replicated}SummingMergeTree
ORDER BY project
SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1;
