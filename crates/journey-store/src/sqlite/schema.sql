-- One UTC day. Everything that is known of its events is in this file, and goes with it.

CREATE TABLE events (
    trace_id BLOB NOT NULL,
    timestamp INTEGER NOT NULL, -- unix nanoseconds
    emitter INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    span_id INTEGER NOT NULL,
    parent_span_id INTEGER,
    parent_trace_id BLOB,
    correlation_id TEXT,
    event_type TEXT NOT NULL,
    status INTEGER NOT NULL, -- 0 success, 1 failed, 2 pending
    duration INTEGER, -- nanoseconds
    route TEXT,
    data TEXT, -- JSON object
    tags TEXT, -- JSON object
    PRIMARY KEY (trace_id, timestamp, emitter, seq)
) STRICT, WITHOUT ROWID;

-- A scan decides by this index alone, and only reads the rows that fit.
CREATE INDEX events_by_time ON events (timestamp, emitter, seq, trace_id, event_type, status, route);

-- What the events of this day say of a trace; all days together say what it is.
CREATE TABLE traces (
    id INTEGER PRIMARY KEY, -- traces that are under way stand together, and few pages change with them
    trace_id BLOB NOT NULL UNIQUE,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    any_failed INTEGER NOT NULL,
    end_timestamp INTEGER, -- of the newest end of the workflow
    end_emitter INTEGER,
    end_seq INTEGER,
    end_status INTEGER,
    correlation_id TEXT,
    route TEXT,
    parent_trace_id BLOB,
    types TEXT NOT NULL, -- JSON list
    tags TEXT NOT NULL, -- JSON list
    other_days INTEGER NOT NULL DEFAULT 0 -- 1: there may be more of it in other days
) STRICT;

CREATE INDEX traces_by_last ON traces (last, trace_id);
CREATE INDEX traces_of_note ON traces (last, trace_id) WHERE any_failed + other_days > 0;
CREATE INDEX traces_by_correlation ON traces (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE INDEX traces_by_parent ON traces (parent_trace_id) WHERE parent_trace_id IS NOT NULL;

-- What every emitter last said of itself in this day.
CREATE TABLE accounts (
    emitter INTEGER PRIMARY KEY,
    service TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    said_at INTEGER NOT NULL,
    emitted INTEGER NOT NULL,
    dropped TEXT NOT NULL -- JSON object
) STRICT;

-- Rows of each emitter in this day; counted in the transaction that stores them.
CREATE TABLE emitters (emitter INTEGER PRIMARY KEY, stored INTEGER NOT NULL) STRICT;

-- Rows of each emitter in day files that were dropped, by the mark of the file.
CREATE TABLE expired (
    mark BLOB NOT NULL,
    emitter INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (mark, emitter)
) STRICT, WITHOUT ROWID;

CREATE TABLE statistics (
    route TEXT NOT NULL,
    leg TEXT NOT NULL,
    count INTEGER NOT NULL,
    mean_ms REAL NOT NULL,
    min_ms REAL NOT NULL,
    max_ms REAL NOT NULL,
    p50_ms REAL NOT NULL,
    p95_ms REAL NOT NULL,
    p99_ms REAL NOT NULL,
    sketch BLOB NOT NULL,
    PRIMARY KEY (route, leg)
) STRICT, WITHOUT ROWID;

-- One row. The statistics are due while `changes` differs from `computed`.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    mark BLOB NOT NULL, -- what tells this file from a later one of the same day
    changes INTEGER NOT NULL,
    computed INTEGER NOT NULL
) STRICT;

INSERT INTO state VALUES (1, randomblob(8), 0, 0);
