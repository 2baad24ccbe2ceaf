//! Programs in namespaces of their own; see namespaces(7).

use super::*;
use std::panic::Location;

/// unshare(1) with these options, for a program that is added. Its user is root there: one who is
/// not root gets a namespace of users too. `None`, and it says NOT TESTED, unless the script can do
/// there what it tries.
#[track_caller]
pub fn unshared(options: &str, trial: &str) -> Option<Command> {
    let start = || {
        let mut command = Command::new("unshare");
        command.args((!Uid::effective().is_root()).then_some("-r")).args(options.split(' '));
        with_default_signals(command.stdin(Stdio::null()).env_remove("NO_COLOR"));
        command
    };
    let why = match start().args(["sh", "-c", trial]).output() {
        Ok(tried) if tried.status.success() => return Some(start()),
        Ok(tried) => {
            let said = String::from_utf8_lossy(&tried.stderr);
            said.lines().next().unwrap_or_default().to_owned()
        }
        Err(error) => format!("unshare: {error}"),
    };
    not_tested(&format!("unshare {options}, for {}", Location::caller()), &why);
    None
}

/// The program in an IPC namespace where this file of `/proc/sys/kernel` has this value.
#[track_caller]
pub fn with_ipc_setting(file: &str, value: u32, program: &Command) -> Option<Command> {
    let set = format!("echo {value} > /proc/sys/kernel/{file}");
    let mut command = unshared("-i", &set)?;
    command.args(["sh", "-c", &format!(r#"{set}; exec "$@""#), "sh"]).args(whole(program));
    Some(command)
}
