-- From version 1, whose traces did not tell whether there may be more of them in other days: there may be.

DROP INDEX traces_of_note;
ALTER TABLE traces ADD COLUMN other_days INTEGER NOT NULL DEFAULT 1;
CREATE INDEX traces_of_note ON traces (last, trace_id) WHERE any_failed + other_days > 0;
