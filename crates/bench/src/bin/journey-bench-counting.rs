//! The same under an allocator that counts. Times are never taken here: counting would be part of them.

use std::{alloc::System, process::ExitCode};

use journey_bench::Heap;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    journey_bench::main(Some(|| {
        let stats = ALLOCATOR.stats();
        // What reallocations grew and shrank by is inside of both.
        let live = stats.bytes_allocated as i64 - stats.bytes_deallocated as i64;
        Heap { allocations: (stats.allocations + stats.reallocations) as u64, live }
    }))
}
