//! Says hello; what the rest weighs is told by the size and the run time of this program with and without it.
#![expect(clippy::print_stdout, reason = "it says hello")]

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "journey")]
    if tracing_journey::init().is_err() {
        return ExitCode::FAILURE;
    }
    println!("hello");
    ExitCode::SUCCESS
}
