//! The process at the other end of a connection, and its end.

/// Kills the process that holds the connection from port `peer` to port `own`, if it is of the
/// process group of MiniStack, which functions belong to. Tells whether there was one. Only Linux
/// tells whose a connection is; elsewhere nothing is killed.
#[cfg(target_os = "linux")]
pub(crate) fn kill(peer: u16, own: u16, group: u32) -> bool {
    use rustix::process::{Pid, Signal, getpgid, kill_process};
    let Some(inode) = inode(peer, own) else {
        return false;
    };
    let socket = format!("socket:[{inode}]");
    let group = i32::try_from(group).ok().and_then(Pid::from_raw);
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in ids.filter_map(Pid::from_raw) {
        // MiniStack itself leads the group.
        if getpgid(Some(pid)).ok() != group || Some(pid) == group {
            continue;
        }
        let files = format!("/proc/{}/fd", pid.as_raw_nonzero());
        let files = std::fs::read_dir(files).into_iter().flatten().flatten();
        let holds = files
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|target| target.as_os_str() == socket.as_str());
        if holds {
            return kill_process(pid, Signal::KILL).is_ok();
        }
    }
    false
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn kill(_peer: u16, _own: u16, _group: u32) -> bool {
    false
}

/// Number of the caller's socket.
#[cfg(target_os = "linux")]
fn inode(peer: u16, own: u16) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let (peer, own) = (format!(":{peer:04X}"), format!(":{own:04X}"));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let fits = fields.get(1)?.ends_with(&peer) && fields.get(2)?.ends_with(&own);
        fits.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}
