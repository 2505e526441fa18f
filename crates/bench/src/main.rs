//! The measurements, under the allocator that applications have.

use std::process::ExitCode;

fn main() -> ExitCode {
    journey_bench::main(None)
}
