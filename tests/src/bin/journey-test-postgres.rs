//! Opens a PostgreSQL store as a process of its own, and waits for the tables to be made: at the first line on stdin, so
//! that several begin together. Prints `ready`, or why not.

use std::io::{self, Write};

use journey_store::{PostgresConfig, PostgresStore, wait};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut config = PostgresConfig::new(&arguments.next().unwrap_or_default());
    config.schema = arguments.next().unwrap_or_default();
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let prepared = PostgresStore::open(&config).and_then(|store| wait(store.prepare()));
    let said = prepared.map_or_else(|error| error.message, |()| "ready".to_owned());
    writeln!(io::stdout(), "{said}")
}
