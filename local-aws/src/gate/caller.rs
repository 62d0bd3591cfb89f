//! The process at the other end of a connection, and its end.

/// Kills the process that holds the connection from port `peer` to port `own`, if it is of the
/// process group of MiniStack, which functions belong to. Tells whether there was one. Only Linux
/// tells whose a connection is; elsewhere nothing is killed.
pub(crate) fn kill(peer: u16, own: u16, group: u32) -> bool {
    signal(peer, own, group, Signal::Kill)
}

/// Has that process stand still, whatever it is doing.
pub(crate) fn hang(peer: u16, own: u16, group: u32) -> bool {
    signal(peer, own, group, Signal::Stop)
}

#[derive(Clone, Copy)]
enum Signal {
    Kill,
    Stop,
}

#[cfg(target_os = "linux")]
fn signal(peer: u16, own: u16, group: u32, signal: Signal) -> bool {
    use rustix::process::{Pid, kill_process};
    let signal = match signal {
        Signal::Kill => rustix::process::Signal::KILL,
        Signal::Stop => rustix::process::Signal::STOP,
    };
    let Some(inode) = inode(peer, own) else {
        return false;
    };
    let socket = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    for id in ids {
        // MiniStack itself leads the group.
        if id == group || group_of(id) != Some(group) {
            continue;
        }
        let files = format!("/proc/{id}/fd");
        let files = std::fs::read_dir(files).into_iter().flatten().flatten();
        let holds = files
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|target| target.as_os_str() == socket.as_str());
        if holds {
            let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
            return pid.is_some_and(|pid| kill_process(pid, signal).is_ok());
        }
    }
    false
}

#[cfg(not(target_os = "linux"))]
fn signal(_peer: u16, _own: u16, _group: u32, _signal: Signal) -> bool {
    false
}

/// Process group of a process: the third field behind its name, which may hold anything. Asking for
/// it with `getpgid` panics for the kernel's own processes, which have none.
#[cfg(target_os = "linux")]
fn group_of(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(2)?.parse().ok()
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{net::TcpListener, os::unix::process::CommandExt as _, process::Command};

    use super::*;

    #[test]
    fn the_caller_is_killed_if_it_is_of_the_group_and_does_not_lead_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        // A leader with a child that holds the connection, as MiniStack with a function.
        let script = format!("(exec 3<>/dev/tcp/127.0.0.1/{own}; read -r -u 3) & wait $!; exit $?");
        let mut leader = Command::new("bash")
            .args(["-c", &script])
            .process_group(0)
            .spawn()
            .unwrap();
        let (_connection, peer) = listener.accept().unwrap();
        assert!(!kill(peer.port(), own, std::process::id()));
        // A process that stands still can be killed.
        assert!(hang(peer.port(), own, leader.id()));
        assert!(kill(peer.port(), own, leader.id()));
        // 128 and the number of the signal, as the shell tells it.
        assert_eq!(leader.wait().unwrap().code(), Some(137));
    }
}
