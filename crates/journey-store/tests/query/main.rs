//! Questions over one trace and over many, asked through the public surface.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod analytics;
mod any_order;
mod compensations;
mod decisions;
mod failures;
mod json;
mod paragraphs;
mod reader;
mod script;
mod shape;
