-- Pairflow's tables. Names, types and units are a public interface: a new column is appended, never inserted.
-- The next start appends it to the tables of an earlier version (flows/database/prepare.py). ts is UTC
-- (microseconds since the epoch); a bar's ts is its opening time. DOUBLE and LONG are NULL where undefined.

CREATE TABLE IF NOT EXISTS trades (
    ts TIMESTAMP, symbol SYMBOL CAPACITY 1024 CACHE, id LONG, price DOUBLE, qty DOUBLE, side SYMBOL
) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, symbol, id);

CREATE TABLE IF NOT EXISTS bars (
    ts TIMESTAMP, symbol SYMBOL CAPACITY 1024 CACHE, timeframe SYMBOL,
    open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume DOUBLE, quote_volume DOUBLE, vwap DOUBLE,
    trades LONG, buy_volume DOUBLE, complete BOOLEAN
) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, symbol, timeframe);

CREATE TABLE IF NOT EXISTS signals (
    ts TIMESTAMP, pair SYMBOL CAPACITY 4096 CACHE, timeframe SYMBOL, method SYMBOL,
    hedge_ratio DOUBLE, intercept DOUBLE, r2 DOUBLE, spread DOUBLE, spread_mean DOUBLE, spread_std DOUBLE,
    deviation DOUBLE, zscore DOUBLE, edge_bps DOUBLE, correlation DOUBLE, complete BOOLEAN,
    hedge_ratio_se DOUBLE, innovation_z DOUBLE, stale BOOLEAN
) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, pair, timeframe, method);

CREATE TABLE IF NOT EXISTS cointegration (
    ts TIMESTAMP, pair SYMBOL CAPACITY 4096 CACHE, timeframe SYMBOL, method SYMBOL,
    adf_stat DOUBLE, adf_pvalue DOUBLE, adf_lags LONG, coint_stat DOUBLE, coint_pvalue DOUBLE, coint_share DOUBLE,
    half_life DOUBLE, stationary BOOLEAN,
    coint_pvalue_reversed DOUBLE, johansen_trace DOUBLE, johansen_max_eig DOUBLE, shin_stat DOUBLE, variance_ratio DOUBLE
) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, pair, timeframe, method);

CREATE TABLE IF NOT EXISTS activity (
    ts TIMESTAMP, symbol SYMBOL CAPACITY 1024 CACHE, timeframe SYMBOL,
    log_return DOUBLE, volatility DOUBLE, volatility_ratio DOUBLE, volume_ratio DOUBLE,
    volatility_gk DOUBLE, imbalance DOUBLE, taker_ratio DOUBLE
) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, symbol, timeframe);

CREATE TABLE IF NOT EXISTS alerts (
    ts TIMESTAMP, rule SYMBOL, subject SYMBOL CAPACITY 4096 CACHE, timeframe SYMBOL, priority SYMBOL, metric SYMBOL,
    value DOUBLE, threshold DOUBLE, active BOOLEAN, episode LONG,
    coint_pvalue DOUBLE, complete BOOLEAN, edge_bps DOUBLE, side SYMBOL, method SYMBOL, stale BOOLEAN
) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, rule, subject, timeframe);

CREATE TABLE IF NOT EXISTS gaps (
    ts TIMESTAMP, symbol SYMBOL CAPACITY 1024 CACHE, first_id LONG, last_id LONG, trades LONG, cause SYMBOL, status SYMBOL,
    filled_at TIMESTAMP
) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, symbol, first_id);

CREATE TABLE IF NOT EXISTS audits (
    ts TIMESTAMP, symbol SYMBOL CAPACITY 1024 CACHE, timeframe SYMBOL, field SYMBOL, ours DOUBLE, theirs DOUBLE
) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, symbol, timeframe, field);

CREATE TABLE IF NOT EXISTS health (
    ts TIMESTAMP, symbol SYMBOL CAPACITY 1024 CACHE, trades LONG, lag_ms DOUBLE, queued LONG, duplicates LONG, rejected LONG,
    reconnects LONG, skew_ms DOUBLE, wal_pending LONG, suspended LONG, audited LONG, mismatched LONG, mismatch_rate DOUBLE,
    refused LONG
) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, symbol);
