//! Texts that go into a file or to standard output.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;

use crate::config::ConfigError;

/// Appends whole lines.
#[derive(Clone, Debug)]
pub(crate) struct Lines(Arc<Mutex<Target>>);

#[derive(Debug)]
struct Target {
    /// `None` is standard output.
    file: Option<File>,
    /// A write failed, so the last line may be half there.
    broken: bool,
}

impl Lines {
    /// Opens a file to append to.
    pub(crate) fn to_file(path: &Path) -> Result<Self, ConfigError> {
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
            let problem = "which cannot be written (try `journeys.jsonl` in a folder that exists)";
            ConfigError::new("JOURNEY_EXPORT_FILE", &path.display().to_string(), problem).caused_by(error)
        })?;
        Ok(Self(Arc::new(Mutex::new(Target { file: Some(file), broken: false }))))
    }

    pub(crate) fn to_stdout() -> Self {
        Self(Arc::new(Mutex::new(Target { file: None, broken: false })))
    }

    /// Writes a text of whole lines. A disk may hang, so this happens on a thread that nobody waits for at the end.
    pub(crate) async fn write(&self, text: String) -> io::Result<()> {
        let target = Arc::clone(&self.0);
        let written = tokio::task::spawn_blocking(move || target.lock().write(&text)).await;
        written.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

impl Target {
    fn write(&mut self, text: &str) -> io::Result<()> {
        let was_broken = std::mem::replace(&mut self.broken, true);
        let mut bytes = Vec::with_capacity(text.len() + 1);
        if was_broken {
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(text.as_bytes());
        match &mut self.file {
            Some(file) => file.write_all(&bytes)?,
            None => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&bytes)?;
                stdout.flush()?;
            }
        }
        self.broken = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_and_half_a_line_is_ended_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journeys.jsonl");
        std::fs::write(&path, "old\n").unwrap();
        let lines = Lines::to_file(&path).unwrap();
        lines.0.lock().write("{\"a\":1}\n{\"a\":2}\n").unwrap();
        lines.0.lock().broken = true;
        lines.0.lock().write("{\"a\":3}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\n{\"a\":1}\n{\"a\":2}\n\n{\"a\":3}\n");
        let error = Lines::to_file(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("`JOURNEY_EXPORT_FILE` is `"), "{error}");
    }
}
