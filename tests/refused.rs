//! Calls that are refused: the error names the cause. That is a policy if nothing else explains it.

use std::os::unix::fs::{chown, symlink};

use crate::support::refusal::{Refusal, SYS_POLL, confine, refuse};
use crate::support::*;

/// The limit for a run to which a call is refused. It waits for nothing longer than a second, and
/// no `--timeout` here that is reached is longer.
const SOON: Duration = Duration::from_secs(10);

/// What a policy answers with.
const ANSWERS: [Errno; 3] = [Errno::EPERM, Errno::EACCES, Errno::ENOSYS];

/// The call is refused with this errno, whatever its arguments are.
fn any(call: libc::c_long, errno: Errno) -> Refusal {
    Refusal::of(call, errno as i32)
}

/// The call is refused if this argument is this.
fn only(call: libc::c_long, argument: u32, value: u32, errno: Errno) -> Refusal {
    any(call, errno).when(argument, u32::MAX, value)
}

/// shmctl(2) is refused for this command. (Some machines add a bit to it, IPC_64.)
fn shmctl(command: i32, errno: Errno) -> Refusal {
    any(libc::SYS_shmctl, errno).when(1, 0xff, command as u32)
}

fn kill_by(signal: Signal, errno: Errno) -> Refusal {
    only(libc::SYS_kill, 1, signal as u32, errno)
}

/// What a filter refuses, and what the error calls it.
type Refused = (&'static str, Vec<Refusal>);

/// Calls that every sender makes. (Nearly all are told from those of the dynamic linker and the
/// standard library, which could not start without, by an argument.)
fn senders_calls(errno: Errno) -> Vec<Refused> {
    let new_file = libc::O_NONBLOCK as u32;
    let one = |name, refusal| (name, vec![refusal]);
    vec![
        one("open(", any(libc::SYS_openat, errno).when(2, new_file, new_file)),
        one("flock(", any(libc::SYS_flock, errno)),
        one("ftok(", only(libc::SYS_newfstatat, 3, 0, errno)),
        one("sigprocmask(", only(libc::SYS_rt_sigprocmask, 0, libc::SIG_SETMASK as u32, errno)),
        one("sigaction(SIGCHLD", only(libc::SYS_rt_sigaction, 0, libc::SIGCHLD as u32, errno)),
        one("sigaction([", only(libc::SYS_rt_sigaction, 0, libc::SIGTERM as u32, errno)),
        one("shmget(", any(libc::SYS_shmget, errno)),
        one("shmat(", any(libc::SYS_shmat, errno)),
        one("IPC_STAT", shmctl(libc::IPC_STAT, errno)),
        one("IPC_RMID", shmctl(libc::IPC_RMID, errno)),
        one("kill(", any(libc::SYS_kill, errno)),
        one("kill(", kill_by(SIGUSR1, errno)),
        one("write(1, ", only(libc::SYS_write, 0, 1, errno)),
    ]
}

/// Calls that only two connected processes make. poll(2) is that of one descriptor, and read(2) and
/// write(2) those of one byte.
fn demos_calls(errno: Errno) -> Vec<Refused> {
    let read_only = libc::SHM_RDONLY as u32;
    vec![
        ("pipe(", vec![any(libc::SYS_pipe2, errno)]),
        ("fork(", vec![any(libc::SYS_clone, errno), any(libc::SYS_clone3, errno)]),
        ("sigaction(SIGUSR1", vec![only(libc::SYS_rt_sigaction, 0, 10, errno)]),
        ("write(", vec![only(libc::SYS_write, 2, 1, errno)]),
        ("read(", vec![only(libc::SYS_read, 2, 1, errno)]),
        ("poll(", vec![only(SYS_POLL, 1, 1, errno)]),
        ("pselect(", vec![any(libc::SYS_pselect6, errno)]),
        ("SHM_RDONLY", vec![any(libc::SYS_shmat, errno).when(2, read_only, read_only)]),
        ("waitpid(", vec![any(libc::SYS_wait4, errno)]),
    ]
}

fn sockets_calls(errno: Errno) -> Vec<Refused> {
    vec![
        ("socketpair(", vec![any(libc::SYS_socketpair, errno)]),
        ("send(", vec![any(libc::SYS_sendto, errno)]),
        ("recv(", vec![any(libc::SYS_recvfrom, errno)]),
    ]
}

/// What is wrong with what was said of a call that a policy refuses.
fn faults(call: &str, errno: Errno, stderr: &str) -> Vec<String> {
    let mut parts = vec![call.to_owned(), format!("{errno:?}"), "policy".into(), "seccomp".into()];
    // A kernel without it would not have given a segment to attach.
    if call == "shmget(" && errno == Errno::ENOSYS {
        parts.push("CONFIG_SYSVIPC".into());
    }
    // Each would be advice that does not help, or a clause that follows nothing.
    let untrue = ["chmod", "run both as one user", "another user", "; or ", "--path"];
    // A policy may be about this file alone.
    let is_of_file = ["open(", "ftok("].contains(&call) && errno == Errno::EACCES;
    let untrue = &untrue[..untrue.len() - usize::from(is_of_file)];
    let missing =
        parts.into_iter().filter(|it| !stderr.contains(it)).map(|it| format!("no {it:?}"));
    let said = untrue.iter().filter(|it| stderr.contains(**it)).map(|it| format!("has {it:?}"));
    missing.chain(said).collect()
}

/// Fails with all the cases that went wrong, and not just the first.
#[derive(Default)]
struct Report(Vec<String>);

impl Report {
    fn add(&mut self, call: &str, errno: Errno, outcome: Result<Finished, String>) {
        let (mut faults, stderr) = match outcome {
            Ok(it) if it.code == Some(1) => (faults(call, errno, &it.stderr), it.stderr),
            Ok(it) => (vec![format!("ends with {:?} {:?}", it.code, it.signal)], it.stderr),
            Err(why) => (vec![why], String::new()),
        };
        if !stderr.starts_with("sigshm: ") && !stderr.is_empty() {
            faults.push("somebody else speaks".to_owned());
        }
        if !faults.is_empty() {
            self.0.push(format!("{call} {errno:?}: {} in {stderr:?}", faults.join(", ")));
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if !thread::panicking() {
            let Self(lines) = self;
            assert!(lines.is_empty(), "{} are wrong:\n{}", lines.len(), lines.join("\n"));
        }
    }
}

fn listener(mut command: Command) -> Program {
    command.arg("--listen");
    let listener = Program::start(command);
    listener.until_printed("# Registering");
    listener
}

#[test]
fn a_run_to_which_a_policy_refuses_a_call_says_that_it_is_a_policy() {
    let mut report = Report::default();
    for errno in ANSWERS {
        for (call, refusals) in senders_calls(errno).into_iter().chain(demos_calls(errno)) {
            let scratch = Scratch::new().checked_if(call != "IPC_RMID");
            let mut command = scratch.sigshm(["--wait=sleep", "Hello, world"]);
            refuse(&mut command, refusals);
            report.add(call, errno, Program::start(&mut command).finish_within(SOON));
        }
        for (call, refusals) in sockets_calls(errno) {
            let scratch = Scratch::new();
            let mut command = scratch.via_socket(["Hello, world"]);
            refuse(&mut command, refusals);
            report.add(call, errno, Program::start(&mut command).finish_within(SOON));
        }
    }
}

#[test]
fn a_separate_sender_to_which_a_policy_refuses_a_call_says_that_it_is_a_policy() {
    let mut report = Report::default();
    for errno in ANSWERS {
        for (call, refusals) in senders_calls(errno) {
            let scratch = Scratch::unchecked();
            let listener = listener(scratch.sigshm([""; 0]));
            let to = listener.pid().to_string();
            let mut command = scratch.sigshm(["--to", &to, "Hello, world"]);
            refuse(&mut command, refusals);
            report.add(call, errno, Program::start(&mut command).finish_within(SOON));
            if call != "IPC_RMID" && !listener.is_alive() {
                let why = "the listener has ended".to_owned();
                report.add(call, errno, Err(why));
            }
        }
    }
}

#[test]
fn a_separate_listener_to_which_a_policy_refuses_a_call_says_that_it_is_a_policy() {
    let mut report = Report::default();
    for errno in ANSWERS {
        let at_once = ["ftok(", "sigprocmask(", "sigaction(SIGUSR1", "pselect("];
        let calls = senders_calls(errno).into_iter().chain(demos_calls(errno));
        for (call, refusals) in calls.filter(|(call, _)| at_once.contains(call)) {
            let scratch = Scratch::new();
            let mut command = scratch.sigshm(["--listen"]);
            refuse(&mut command, refusals);
            report.add(call, errno, Program::start(&mut command).finish_within(SOON));
        }
    }
}

#[test]
fn a_separate_listener_that_may_not_look_at_the_message_says_that_it_is_a_policy() {
    let mut report = Report::default();
    for errno in ANSWERS {
        let looks = ["shmget(", "shmat(", "IPC_STAT"];
        for (call, refusals) in senders_calls(errno) {
            if !looks.contains(&call) {
                continue;
            }
            let scratch = Scratch::new();
            let mut command = scratch.sigshm([""; 0]);
            refuse(&mut command, refusals);
            let listener = listener(command);
            let pid = listener.pid();
            let to = ["--timeout=1", "--to", &pid.to_string(), "Hello, world"].map(str::to_owned);
            let sent = run(scratch.sigshm(to));
            assert_eq!(sent.code, Some(1), "{sent:#?}");
            wait_until("it has looked, and has ended or listens again", || {
                !listener.is_alive() || !is_pending(pid) && state(pid) == Some('S')
            });
            // It may go on listening: somebody else's segment could be in the way.
            kill(pid, SIGTERM).unwrap();
            let mut finished = listener.finish();
            finished.code = Some(finished.code.unwrap_or(1));
            report.add(call, errno, Ok(finished));
        }
    }
}

#[test]
fn a_leftover_whose_status_a_policy_hides_is_not_called_another_users() {
    let mut report = Report::default();
    for errno in ANSWERS {
        let scratch = Scratch::unchecked();
        leave_behind(&scratch);
        let mut command = scratch.sigshm(["--timeout=1", "Hello, world"]);
        refuse(&mut command, [shmctl(libc::IPC_STAT, errno)]);
        report.add("IPC_STAT", errno, Program::start(&mut command).finish_within(SOON));
    }
}

#[test]
fn a_file_that_its_mode_opens_and_landlock_does_not_is_refused_by_a_policy() {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o644)).unwrap();
    for path in [scratch.path(), scratch.dir().to_owned()] {
        let mut command = sigshm();
        command.arg("--path").arg(path).arg("Hello, world");
        if let Err(error) = confine(&mut command, scratch.dir()) {
            return not_tested("a file that Landlock denies", &error.to_string());
        }
        assert_says(&run(&mut command), &["open(", "EACCES", "policy"], &["chmod"]);
    }
}

#[test]
fn a_file_of_ours_that_a_policy_closes_to_every_look_is_not_to_be_opened_by_chmod() {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o600)).unwrap();
    let mut command = scratch.sigshm(["Hello, world"]);
    let new_file = libc::O_NONBLOCK as u32;
    let open = any(libc::SYS_openat, Errno::EACCES).when(2, new_file, new_file);
    let looks = [libc::SYS_faccessat, libc::SYS_faccessat2].map(|it| any(it, Errno::EACCES));
    refuse(&mut command, [open].into_iter().chain(looks));
    let said = ["open(", "EACCES", "policy"];
    assert_says(&run(&mut command), &said, &["chmod"]);
}

// Where users, modes and files are the cause.

/// A copy of the program, for a user for whom modes count.
fn as_user(user: u32, scratch: &Scratch) -> Command {
    let mut command = Command::new(scratch.copy_for_anybody());
    command.env_remove("NO_COLOR").stdin(Stdio::null()).arg("--timeout=5");
    if Uid::effective().is_root() {
        command.uid(user).gid(user);
    }
    command
}

/// A folder, and a file in it.
fn folder_with_file(scratch: &Scratch) -> (PathBuf, PathBuf) {
    let folder = scratch.dir().join("folder");
    let file = folder.join("file");
    fs::create_dir(&folder).unwrap();
    fs::write(&file, "").unwrap();
    (folder, file)
}

#[track_caller]
fn assert_says(finished: &Finished, said: &[&str], unsaid: &[&str]) {
    finished.assert_failed_with(said);
    let wrong = unsaid.iter().find(|it| finished.stderr.contains(**it));
    assert_eq!(wrong, None, "{finished:#?}");
}

#[test]
fn a_file_that_its_mode_or_its_folders_mode_closes_is_to_be_opened_by_chmod() {
    let scratch = Scratch::new();
    let (folder, file) = folder_with_file(&scratch);
    for (closed, to_listen) in [(&file, false), (&folder, false), (&folder, true)] {
        let mode = fs::metadata(closed).unwrap().permissions();
        fs::set_permissions(closed, Permissions::from_mode(0o0)).unwrap();
        let mut command = as_user(12345, &scratch);
        command.arg("--path").arg(&file).arg(if to_listen { "--listen" } else { "Hello" });
        let finished = run(&mut command);
        fs::set_permissions(closed, mode).unwrap();
        assert_says(&finished, &["EACCES", "chmod"], &["policy", "seccomp"]);
    }
}

#[test]
fn the_current_folder_that_its_mode_closes_is_to_be_opened_by_chmod() {
    let scratch = Scratch::new();
    let program = as_user(12345, &scratch);
    let folder = scratch.dir().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    // It must be open while one goes there.
    let script = r#"touch file; "$0" 0 "$1"; shift; exec "$@" --path file Hello"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "chmod"]).arg(&folder);
    command.arg(program.get_program()).current_dir(&folder);
    if Uid::effective().is_root() {
        chown(&folder, Some(12345), Some(12345)).unwrap();
        command.uid(12345).gid(12345);
    }
    let finished = run(&mut command);
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    let said = ["open(", "EACCES", "folder", "chmod"];
    assert_says(&finished, &said, &["policy", "seccomp"]);
}

#[test]
fn nobody_is_blamed_for_what_a_link_leads_to_and_cannot_be_looked_at() {
    let scratch = Scratch::new();
    let (folder, file) = folder_with_file(&scratch);
    let link = scratch.dir().join("link");
    symlink(&file, &link).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o0)).unwrap();
    let mut command = as_user(12345, &scratch);
    let finished = run(command.arg("--path").arg(&link).arg("Hello"));
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    assert_says(&finished, &["open(", "EACCES"], &["policy", "chmod"]);
}

#[test]
fn a_file_or_a_folder_that_an_access_control_list_closes_is_not_to_be_opened_by_chmod() {
    let scratch = Scratch::new();
    let (folder, file) = folder_with_file(&scratch);
    if !Uid::effective().is_root() {
        return not_tested("an access control list", "it needs root, to be somebody else");
    }
    for (closed, mode) in [(&file, 0o644), (&folder, 0o755)] {
        fs::set_permissions(closed, Permissions::from_mode(mode)).unwrap();
        let mut setfacl = Command::new("sh");
        setfacl.args(["-c", r#"setfacl "$@""#, "sh", "-m", "u:12345:---"]);
        let set = run(setfacl.arg(closed));
        if set.code != Some(0) {
            return not_tested("an access control list", &set.stderr);
        }
        let mut command = as_user(12345, &scratch);
        let finished = run(command.arg("--path").arg(&file).arg("Hello"));
        run(Command::new("setfacl").arg("-b").arg(closed));
        assert_says(&finished, &["EACCES", "getfacl"], &["chmod"]);
    }
}

#[test]
fn a_listener_of_another_user_may_not_be_signalled_and_no_policy_is_blamed() {
    if !Uid::effective().is_root() {
        return not_tested("a listener of another user", "it needs root");
    }
    let scratch = Scratch::new();
    let mut command = as_user(54321, &scratch);
    command.arg("--path").arg(scratch.path());
    let listener = listener(command);
    let mut command = as_user(12345, &scratch);
    command.arg("--path").arg(scratch.path());
    command.args(["--to", &listener.pid().to_string(), "Hello, world"]);
    let said = ["kill(", "EPERM", "run both as one user"];
    assert_says(&run(&mut command), &said, &["policy", "seccomp"]);

    // Root might, and is refused by a policy.
    let to = ["--to", &listener.pid().to_string(), "Hello, world"].map(str::to_owned);
    let mut command = scratch.sigshm(&to);
    refuse(&mut command, [any(libc::SYS_kill, Errno::EPERM)]);
    assert_says(&run(&mut command), &["kill(", "EPERM", "policy"], &["user"]);

    // Root of a namespace may not, and where users have no number nobody can tell.
    for (option, part) in [("-r", "run both as one user"), ("-U", "or a policy")] {
        let program = scratch.sigshm(&to);
        let mut command = Command::new("unshare");
        command.arg(option);
        if run(command.arg("true")).code != Some(0) {
            not_tested("root of a user namespace", "there are none");
            continue;
        }
        let mut command = Command::new("unshare");
        command.arg(option).arg(program.get_program());
        let finished = run(command.args(program.get_args()));
        assert_says(&finished, &["kill(", "EPERM", "user's", part], &["sandbox"]);
    }
    assert!(listener.is_alive());
}

#[test]
fn a_leftover_of_ours_that_its_mode_closes_is_said_to_be_closed_by_its_mode() {
    if !Uid::effective().is_root() {
        return not_tested("a mode that closes a segment", "it needs root, to be somebody else");
    }
    let scratch = Scratch::unchecked();
    let mut killed = as_user(12345, &scratch);
    let path = scratch.path();
    killed.arg("--path").arg(&path).args(["--step", "Hello, world"]);
    let killed = Program::start_at(killed, "the sender sends the signal");
    let id = scratch.segments()[0].id;
    let set = |mode, owner| {
        // SAFETY: IPC_STAT writes one shmid_ds to where it is told, and IPC_SET reads it.
        unsafe {
            let mut status: libc::shmid_ds = std::mem::zeroed();
            assert_eq!(libc::shmctl(id, libc::IPC_STAT, &raw mut status), 0);
            (status.shm_perm.mode, status.shm_perm.uid) = (mode, owner);
            assert_eq!(libc::shmctl(id, libc::IPC_SET, &raw mut status), 0);
        }
    };
    kill(killed.pid(), SIGKILL).unwrap();
    killed.finish();
    // Its listener, which has the lock too, ends with it.
    wait_until("the lock is free", || scratch.processes().is_empty());
    let part = &format!("segment {id} ");
    // And who has created it may look at it too: that is a policy, then.
    for (mode, owner, cause, others) in [
        (0, 12345, "its mode", "policy"),
        (0o600, 12345, "policy", "its mode"),
        (0o600, 54321, "policy", "its mode"),
    ] {
        set(mode, owner);
        let mut next = as_user(12345, &scratch);
        next.arg("--path").arg(&path).arg("Hello, world");
        if mode != 0 {
            refuse(&mut next, [shmctl(libc::IPC_STAT, Errno::EACCES)]);
        }
        let unsaid = ["it is another user", others];
        assert_says(&run(&mut next), &[part, cause], &unsaid);
    }

    // Root may look at anybody's, and is refused by a policy.
    let mut next = scratch.sigshm(["Hello, world"]);
    refuse(&mut next, [shmctl(libc::IPC_STAT, Errno::EACCES)]);
    assert_says(&run(&mut next), &[part, "policy"], &["it is another user"]);
}

#[test]
fn a_file_with_a_lease_is_said_to_have_one() {
    let scratch = Scratch::new();
    let file = fs::File::create(scratch.path()).unwrap();
    const F_SETSIG: i32 = 10; // of fcntl(2), which the libc crate does not have
    // SAFETY: fcntl takes three numbers here. To be told of the opening does nothing: SIGIO would
    // end this process.
    let is_leased = unsafe {
        libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) == 0
            && libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0
    };
    if !is_leased {
        return not_tested("a lease", "the file system gives none");
    }
    let finished = run(scratch.sigshm(["Hello, world"]));
    assert_says(&finished, &["open(", "lease", "--path"], &["policy"]);
}

#[test]
fn a_path_that_leads_nowhere_is_an_error_whose_sentence_is_whole() {
    let scratch = Scratch::new();
    symlink("loop", scratch.dir().join("loop")).unwrap();
    symlink("missing", scratch.dir().join("nowhere")).unwrap();
    let long = "n".repeat(300);
    let paths = [
        ("shared_path/x", "(ENOTDIR); you can name"),
        (&long, "(ENAMETOOLONG); you can name"),
        ("loop", "(ELOOP); you can name"),
        ("missing", "create it (touch)"),
        ("missing/x", "there is no folder"),
        ("missing/", "it is no folder"),
        ("nowhere", "it is a link to no file"),
    ];
    for (path, part) in paths {
        for argument in ["Hello, world", "--listen"] {
            let mut command = sigshm();
            command.arg("--path").arg(scratch.dir().join(path)).arg(argument);
            let finished = run(&mut command);
            assert_says(&finished, &[part, "--path"], &["; or name", "policy"]);
        }
    }
}
