-- What happened, one row an event, in one partition per UTC day of the event's own timestamp.
-- Times are unix nanoseconds: a timestamptz has only microseconds. Texts compare by bytes, as they do in the program.
-- `data` and `tags` are json, not jsonb: they come back as they were, with the order of their keys and with U+0000.
CREATE TABLE events (
    ts bigint NOT NULL,
    emitter bigint NOT NULL,
    seq bigint NOT NULL,
    duration bigint,
    status smallint NOT NULL, -- 0 success, 1 failed, 2 pending
    trace_id bytea NOT NULL,
    span_id bytea NOT NULL,
    parent_span_id bytea,
    parent_trace_id bytea,
    event_type text COLLATE "C" NOT NULL,
    correlation_id text COLLATE "C",
    route text COLLATE "C",
    data json,
    tags json,
    PRIMARY KEY (trace_id, ts, emitter, seq)
) PARTITION BY RANGE (ts);

-- Not BRIN: pages of all traces come in this order, and inserting costs the same (new events have new timestamps).
CREATE INDEX events_in_order ON events (ts, emitter, seq);
CREATE INDEX events_failed ON events (ts, emitter, seq) WHERE status = 1;
-- Most events are of stages; what is asked for by type is among the others.
CREATE INDEX events_by_type ON events (event_type, ts, emitter, seq) WHERE NOT starts_with(event_type, 'stage:');

-- Holds nothing: what lands here has no partition yet, and is moved into one.
CREATE TABLE events_default PARTITION OF events DEFAULT;

-- What is known of a trace in one line. Every column merges commutatively: least, greatest, or, union.
CREATE TABLE traces (
    first_ts bigint NOT NULL,
    last_ts bigint NOT NULL,
    any_failed boolean NOT NULL,
    trace_id bytea PRIMARY KEY,
    parent_trace_id bytea,
    newest_end bigint[], -- (ts, emitter, seq, status) of the newest end of the workflow
    status smallint NOT NULL GENERATED ALWAYS AS ( -- 0 pending, 1 failed, 2 success
        CASE newest_end[4] WHEN 0 THEN 2 WHEN 1 THEN 1 ELSE CASE WHEN any_failed THEN 1 ELSE 0 END END
    ) STORED,
    correlation_id text COLLATE "C",
    route text COLLATE "C",
    types text[] COLLATE "C" NOT NULL,
    tags text[] COLLATE "C" NOT NULL
);

CREATE INDEX traces_newest ON traces (last_ts, trace_id);
CREATE INDEX traces_failed ON traces (last_ts, trace_id) WHERE status = 1;
CREATE INDEX traces_first ON traces (first_ts);
CREATE INDEX traces_correlation ON traces (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX traces_parent ON traces (parent_trace_id) WHERE parent_trace_id IS NOT NULL;

-- What every emitter last said of itself.
CREATE TABLE accounts (
    emitter bigint PRIMARY KEY,
    started_at bigint NOT NULL,
    said_at bigint NOT NULL,
    emitted bigint NOT NULL,
    service text NOT NULL,
    dropped json NOT NULL
);

-- Events of an emitter that were stored until their day was dropped.
CREATE TABLE expired (
    emitter bigint PRIMARY KEY,
    events bigint NOT NULL
);

-- Statistics of a day, replaced as a whole.
CREATE TABLE daily (
    day date NOT NULL,
    count bigint NOT NULL,
    mean_ms float8 NOT NULL,
    min_ms float8 NOT NULL,
    max_ms float8 NOT NULL,
    p50_ms float8 NOT NULL,
    p95_ms float8 NOT NULL,
    p99_ms float8 NOT NULL,
    route text COLLATE "C" NOT NULL,
    leg text COLLATE "C" NOT NULL,
    sketch bytea NOT NULL
);

CREATE INDEX daily_day ON daily (day);

-- Days that got events since their statistics were computed: a row for each session that wrote, so that writers do not
-- wait for each other. `marks` grows with every batch, so that a batch during the computation is noticed.
CREATE TABLE dirty_days (
    day date NOT NULL,
    session integer NOT NULL,
    marks bigint NOT NULL,
    PRIMARY KEY (day, session)
);

-- Rows that the database refused, and why.
CREATE TABLE dead_letters (
    ts bigint NOT NULL,
    emitter bigint NOT NULL,
    seq bigint NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    trace_id bytea NOT NULL,
    reason text NOT NULL,
    event text NOT NULL,
    PRIMARY KEY (trace_id, ts, emitter, seq)
);

CREATE INDEX dead_letters_ts ON dead_letters (ts);
