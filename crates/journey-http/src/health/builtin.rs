//! Memory and disk.

use std::{path::Path, time::Duration};

use sysinfo::{Disks, MemoryRefreshKind, System};

use super::Health;

/// Less than this share left counts as down: allocations and writes are about to fail.
const LEAST_FREE: f64 = 0.05;

const MEMORY_INTERVAL: Duration = Duration::from_secs(15);
const DISK_INTERVAL: Duration = Duration::from_secs(60);

/// A network file system that is gone makes the disk check hang; then it is down.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn register(health: &Health) {
    health.register("memory", MEMORY_INTERVAL, TIMEOUT, memory);
    health.register("disk", DISK_INTERVAL, TIMEOUT, disk);
}

/// Memory of the machine, or of the control group where that has less.
fn memory() -> Result<String, String> {
    let mut system = System::new().map_err(|error| error.to_string())?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    match system.cgroup_limits() {
        Some(group) if group.total_memory > 0 && group.total_memory < system.total_memory() => {
            judge("memory of the control group", group.free_memory, group.total_memory)
        }
        _ => judge("memory", system.available_memory(), system.total_memory()),
    }
}

/// The disk that holds the working directory.
fn disk() -> Result<String, String> {
    let here = std::env::current_dir().map_err(|error| format!("the working directory cannot be read: {error}"))?;
    let disks = Disks::new_with_refreshed_list().map_err(|error| error.to_string())?;
    let holding = disks.iter().filter(|disk| here.starts_with(disk.mount_point()));
    // The innermost mount point is the one that counts.
    match holding.max_by_key(|disk| depth(disk.mount_point())) {
        Some(disk) => judge("disk of the working directory", disk.available_space(), disk.total_space()),
        None => Ok("the system does not say which disk holds the working directory".to_owned()),
    }
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

fn judge(what: &str, free: u64, total: u64) -> Result<String, String> {
    if total == 0 {
        return Ok(format!("{what}: the system does not say"));
    }
    let share = free as f64 / total as f64;
    let text = format!("{what}: {:.0} MiB of {:.0} MiB free ({:.0} %)", mib(free), mib(total), share * 100.0);
    if share < LEAST_FREE { Err(text) } else { Ok(text) }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_left_counts_as_down() {
        assert_eq!(judge("memory", 512 << 20, 1 << 30), Ok("memory: 512 MiB of 1024 MiB free (50 %)".to_owned()));
        assert!(judge("memory", 51 << 20, 1 << 30).is_err());
        assert!(judge("memory", 0, 0).is_ok());
    }

    #[test]
    fn memory_and_disk_of_this_machine_can_be_read() {
        for text in [memory(), disk()] {
            let (Ok(text) | Err(text)) = text;
            assert!(text.contains("MiB") || text.contains("does not say"), "{text}");
        }
    }
}
