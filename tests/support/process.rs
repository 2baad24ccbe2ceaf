//! What any system tells of a process: Linux in `/proc`, the others by ps(1).

use super::*;

/// The state letter of a process (R, S, T, Z, …), or `None` if there is no such process.
pub fn state(pid: Pid) -> Option<char> {
    if cfg!(target_os = "linux") {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        return stat.rsplit_once(") ").unwrap().1.chars().next();
    }
    ps(&["-o", "stat=", "-p", &pid.to_string()]).trim_start().chars().next()
}

/// The PIDs of all processes.
pub fn process_ids() -> Vec<i32> {
    if cfg!(target_os = "linux") {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        return entries.filter_map(|it| it.file_name().to_str()?.parse().ok()).collect();
    }
    ps(&["-axo", "pid="]).lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// The command line of a process, and the folder in which it runs where the system tells.
pub fn command_line(pid: i32) -> (String, PathBuf) {
    if cfg!(target_os = "linux") {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        return (String::from_utf8_lossy(&line).into_owned(), folder);
    }
    (ps(&["-wwo", "args=", "-p", &pid.to_string()]), PathBuf::new())
}

/// The children of a process that have not been reaped.
pub fn children(pid: Pid) -> Vec<Pid> {
    if cfg!(target_os = "linux") {
        let parent = |child: i32| {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
            stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
        };
        let ids = process_ids().into_iter().filter(|&it| parent(it) == Some(pid.as_raw()));
        return ids.map(Pid::from_raw).collect();
    }
    let child = |line: &str| {
        let (child, parent) = line.trim().split_once(' ')?;
        (parent.trim() == pid.to_string()).then(|| Pid::from_raw(child.parse().unwrap()))
    };
    ps(&["-axo", "pid=,ppid="]).lines().filter_map(child).collect()
}

fn ps(options: &[&str]) -> String {
    let output = Command::new("ps").args(options).output().expect("there is ps(1)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How the program names a process: with the program that it runs, if it knows that.
pub fn described(pid: Pid) -> String {
    if !uses_linux() {
        return format!("PID {pid}");
    }
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    format!("PID {pid} ({:?})", program.trim_end())
}

/// Whether there is no such process any more, not even a zombie.
pub fn is_gone(pid: Pid) -> bool {
    kill(pid, None) == Err(Errno::ESRCH)
}
