//! What the kernel knows about a process: run time, memory, threads, limits, cores.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::fault::Fault;

/// Run time of all threads of these processes, user and kernel together.
///
/// From `schedstat`, whose unit is the ns; the times in `stat` come in ticks of 10 ms.
pub(crate) fn run_time(pids: &[u32]) -> Result<Duration, Fault> {
    let mut total = 0;
    for pid in pids {
        let dir = format!("/proc/{pid}/task");
        for task in fs::read_dir(&dir).map_err(Fault::io(&dir))? {
            let path = task.map_err(Fault::io(&dir))?.path().join("schedstat");
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(path) else { continue };
            total += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(total))
}

/// A process and all that descend from it.
pub(crate) fn tree(root: u32) -> Result<Vec<u32>, Fault> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").map_err(Fault::io("/proc"))?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The command in parentheses may hold spaces and parentheses itself.
        let Some((_, after)) = stat.rsplit_once(") ") else { continue };
        let Some(parent) = after.split(' ').nth(1).and_then(|ppid| ppid.parse::<u32>().ok()) else {
            continue;
        };
        parents.push((pid, parent));
    }
    let mut tree = vec![root];
    let mut at = 0;
    while at < tree.len() {
        let parent = tree[at];
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(tree)
}

/// Memory of a set of processes, KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident set.
    pub(crate) rss_kib: u64,
    /// Proportional set: shared pages divided among those who share them.
    pub(crate) pss_kib: u64,
}

/// Resident memory of these processes now.
pub(crate) fn memory(pids: &[u32]) -> Result<Memory, Fault> {
    let mut sum = Memory::default();
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).map_err(Fault::io(&path))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        sum.rss_kib += field("Rss:");
        sum.pss_kib += field("Pss:");
    }
    Ok(sum)
}

/// Raises the soft limit of descriptors to the hard one and returns it.
pub(crate) fn raise_descriptors() -> Result<u64, Fault> {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard })
        .map_err(|error| Fault::io("setrlimit")(error.into()))?;
    Ok(hard.unwrap_or(u64::MAX))
}

/// Keeps this process on one core.
pub(crate) fn pin(core: usize) -> Result<(), Fault> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(|error| Fault::io(format!("pin to core {core}"))(error.into()))
}

/// The process that listens on a loopback port, found through the socket's inode.
pub(crate) fn listener(port: u16) -> Option<u32> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            table.lines().skip(1).filter_map(|line| listening_inode(line, port)).collect::<Vec<_>>()
        })
        .collect();
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let mut links = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        links
            .any(|link| {
                fs::read_link(link.path())
                    .is_ok_and(|to| sockets.iter().any(|s| to.as_os_str() == s.as_str()))
            })
            .then_some(pid)
    })
}

fn listening_inode(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, hex) = fields.get(1)?.rsplit_once(':')?;
    let listening = *fields.get(3)? == "0A" && u16::from_str_radix(hex, 16) == Ok(port);
    listening.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_a_port_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        assert_eq!(listener(port), Some(std::process::id()));
    }

    #[test]
    fn run_time_grows_with_work() {
        let own = [std::process::id()];
        let before = run_time(&own).expect("readable");
        assert!((0..3_000_000u64).fold(0, |sum, i| sum ^ std::hint::black_box(i)) < u64::MAX);
        assert!(run_time(&own).expect("readable") > before);
    }

    #[test]
    fn a_child_belongs_to_the_tree() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("cat is everywhere");
        assert!(tree(std::process::id()).expect("readable").contains(&child.id()));
        drop(child.stdin.take());
        child.wait().expect("ends with its input");
    }
}
