//! Who owns a port: whether a process that this one has started listens on it, as far as Linux tells.
//!
//! The kernel's tables are described in [proc(5)](https://man7.org/linux/man-pages/man5/proc.5.html).

use std::collections::{HashMap, HashSet};
use std::fs;

/// `TCP_LISTEN` in the kernel's tables.
const LISTENING: &str = "0A";

/// Whether a process that descends from this one listens on the port at any address. False where the system does not tell.
pub(super) fn is_of_a_child(port: u16) -> bool {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let sockets: HashSet<String> = tables.iter().flat_map(|table| listeners(table, port)).collect();
    !sockets.is_empty() && descendants(std::process::id()).into_iter().any(|process| holds_one(process, &sockets))
}

/// The sockets of a table of the kernel's that listen on the port, as a process's open files name them.
fn listeners(table: &str, port: u16) -> impl Iterator<Item = String> {
    let end = format!(":{port:04X}");
    table.lines().filter_map(move |line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = fields[..] else { return None };
        (state == LISTENING && local.ends_with(&end)).then(|| format!("socket:[{inode}]"))
    })
}

/// Every process that descends from this one.
fn descendants(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let status = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&status) {
            children.entry(parent).or_default().push(process);
        }
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut at = 0;
    while let Some(process) = found.get(at).copied() {
        found.extend(children.remove(&process).unwrap_or_default());
        at += 1;
    }
    found
}

/// The parent in a process's status line. Its own name, in parentheses, may contain anything.
fn parent(status: &str) -> Option<u32> {
    status.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn holds_one(process: u32, sockets: &HashSet<String>) -> bool {
    let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
    links.any(|link| link.to_str().is_some_and(|link| sockets.contains(link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_by_their_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
            1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n   \
            2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n";
        assert_eq!(listeners(table, 8080).collect::<Vec<_>>(), ["socket:[4711]"]);
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (a) 1 ) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12"), None);
    }
}
