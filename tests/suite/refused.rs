//! Calls that are refused: the error names the cause. That is a policy if nothing else explains it.

use std::os::unix::fs::{chown, symlink};

use nix::errno::Errno::{EACCES, ENOSYS, EPERM};

use crate::support::refusal::{Refusal, confine, refuse};
use crate::support::*;

/// Calls that a policy refuses: each with what the error names it, and how it is refused.
type Calls = Vec<(&'static str, Refusal)>;

fn any(call: libc::c_long) -> Refusal {
    Refusal::of(call, EPERM)
}

/// Those that every sender makes. (Nearly all are told from those of the dynamic linker and the
/// standard library, which could not start without, by an argument.)
fn senders_calls() -> Calls {
    vec![
        ("open(", Refusal::open(EPERM)),
        ("flock(", any(libc::SYS_flock)),
        ("ftok(", any(calls::SYS_newfstatat).if_is(3, 0)),
        ("sigprocmask(", any(libc::SYS_rt_sigprocmask).if_is(0, libc::SIG_SETMASK)),
        ("sigaction(SIGCHLD", any(libc::SYS_rt_sigaction).if_is(0, libc::SIGCHLD)),
        ("sigaction([", any(libc::SYS_rt_sigaction).if_is(0, libc::SIGTERM)),
        ("shmget(", any(calls::SYS_shmget)),
        ("shmat(", any(calls::SYS_shmat)),
        ("IPC_STAT", Refusal::shmctl(libc::IPC_STAT, EPERM)),
        ("IPC_RMID", Refusal::shmctl(libc::IPC_RMID, EPERM)),
        ("kill(", any(libc::SYS_kill)),
        ("kill(", any(libc::SYS_kill).if_is(1, libc::SIGUSR1)),
        ("write(1, ", any(libc::SYS_write).if_is(0, 1)),
    ]
}

/// Those that only two connected processes make. poll(2) is that of one descriptor, and read(2) and
/// write(2) those of one byte.
fn demos_calls() -> Calls {
    vec![
        ("pipe(", any(libc::SYS_pipe2)),
        ("fork(", any(libc::SYS_clone)),
        ("sigaction(SIGUSR1", any(libc::SYS_rt_sigaction).if_is(0, libc::SIGUSR1)),
        ("write(", any(libc::SYS_write).if_is(2, 1)),
        ("read(", any(libc::SYS_read).if_is(2, 1)),
        ("poll(", any(libc::SYS_ppoll).if_is(1, 1)),
        ("pselect(", any(libc::SYS_pselect6)),
        ("SHM_RDONLY", Refusal::read_only_shmat(EPERM)),
        ("waitpid(", any(libc::SYS_wait4)),
    ]
}

/// Those of them that can be refused to a sender, which looks at the path before ftok(3) does.
fn of_sender(mut calls: Calls) -> Calls {
    if cfg!(target_env = "musl") {
        let why = "the standard library makes the same call before";
        not_tested("an ftok(3) that is refused to a sender", why);
        calls.retain(|(call, _)| *call != "ftok(");
    }
    calls
}

/// Whether the run has failed, and what it says of a call that a policy refuses is true.
fn names_a_policy(call: &str, errno: Errno, finished: &Finished) -> bool {
    let says = |it: &str| finished.stderr.contains(it);
    let is_of_file = ["open(", "ftok("].contains(&call) && errno == EACCES;
    finished.code == Some(1)
        && finished.stderr.starts_with("sigshm: ")
        && [call, &*format!("{errno:?}"), "policy", "seccomp"].into_iter().all(says)
        // A kernel without it would not have given a segment to attach.
        && (call != "shmget(" || errno != ENOSYS || says("CONFIG_SYSVIPC"))
        // Each would be advice that does not help, or a clause that follows nothing.
        && !["chmod", "run both as one user", "another user", "; or "].into_iter().any(says)
        // A policy may be about this file alone.
        && is_of_file == says("--path")
}

/// Each of these runs fails, whatever a policy answers the call with, and says that it is a policy.
/// If not, this tells all that went wrong, and not just the first.
#[track_caller]
fn assert_a_policy_is_named(calls: Calls, run: impl Fn(&str, Errno, Refusal) -> Finished + Sync) {
    let with_each = |errno| calls.iter().map(move |&(call, it)| (call, errno, it.with(errno)));
    let rows: Vec<_> = [EPERM, EACCES, ENOSYS].into_iter().flat_map(with_each).collect();
    // Some at a time, as some wait. With all at once, each would take long.
    let outcome = |&(call, errno, it): &_| (call, errno, run(call, errno, it));
    let outcomes = rows.chunks(9).flat_map(|rows| at_once(rows, outcome));
    let wrong: Vec<_> = outcomes.filter(|it| !names_a_policy(it.0, it.1, &it.2)).collect();
    assert!(wrong.is_empty(), "{} are wrong: {wrong:?}", wrong.len());
}

#[test]
fn a_run_to_which_a_policy_refuses_a_call_says_that_it_is_a_policy() {
    let calls = of_sender([senders_calls(), demos_calls()].concat());
    assert_a_policy_is_named(calls, |call, _, refusal| {
        let scratch = Scratch::new().checked_if(call != "IPC_RMID");
        run(refuse(scratch.sigshm(["--wait=sleep", HELLO]), &[refusal]))
    });
    let calls = vec![
        ("socketpair(", any(libc::SYS_socketpair)),
        ("send(", any(libc::SYS_sendto)),
        ("recv(", any(libc::SYS_recvfrom)),
    ];
    assert_a_policy_is_named(calls, |_, _, refusal| {
        run(refuse(Scratch::new().via_socket([HELLO]), &[refusal]))
    });
}

#[test]
fn a_separate_sender_to_which_a_policy_refuses_a_call_says_that_it_is_a_policy() {
    assert_a_policy_is_named(of_sender(senders_calls()), |call, errno, refusal| {
        let scratch = Scratch::unchecked();
        let listener = scratch.listen(&[]);
        let finished = run(refuse(scratch.sender(listener.pid(), &[], HELLO), &[refusal]));
        assert!(call == "IPC_RMID" || listener.is_alive(), "{call} {errno}: it has ended");
        finished
    });
}

#[test]
fn a_separate_listener_to_which_a_policy_refuses_a_call_says_that_it_is_a_policy() {
    let mut calls = [senders_calls(), demos_calls()].concat();
    let early = ["ftok(", "sigprocmask(", "sigaction(SIGUSR1", "pselect("];
    calls.retain(|(call, _)| early.contains(call));
    assert_eq!(calls.len(), 4);
    assert_a_policy_is_named(calls, |_, _, refusal| {
        run(refuse(Scratch::new().sigshm(["--listen"]), &[refusal]))
    });
}

#[test]
fn a_separate_listener_that_may_not_look_at_the_message_says_that_it_is_a_policy() {
    let mut calls = senders_calls();
    calls.retain(|(call, _)| ["shmget(", "shmat(", "IPC_STAT"].contains(call));
    assert_eq!(calls.len(), 3);
    assert_a_policy_is_named(calls, |_, _, refusal| {
        let scratch = Scratch::new();
        let listener = Program::start(refuse(scratch.sigshm(["--listen"]), &[refusal]));
        listener.until_printed("# Registering");
        let pid = listener.pid();
        let sent = run(scratch.sender(pid, &["--timeout=2"], HELLO));
        assert_eq!(sent.code, Some(1), "{sent:#?}");
        wait_until("it has looked, and has ended or listens again", || {
            !listener.is_alive() || !is_pending(pid) && state(pid) == Some('S')
        });
        // It may go on listening: somebody else's segment could be in the way.
        kill(pid, SIGTERM).unwrap();
        let finished = listener.finish();
        Finished { code: finished.code.or(Some(1)), ..finished }
    });
}

#[test]
fn a_leftover_whose_status_a_policy_hides_is_not_called_another_users() {
    let hidden = ("IPC_STAT", Refusal::shmctl(libc::IPC_STAT, EPERM));
    assert_a_policy_is_named(vec![hidden], |_, _, refusal| {
        let scratch = Scratch::unchecked();
        leave_behind(&scratch);
        run(refuse(scratch.sigshm(["--timeout=1", HELLO]), &[refusal]))
    });
}

// Files: a policy, or a mode, or an access control list.

#[track_caller]
fn assert_says(finished: &Finished, said: &[&str], unsaid: &[&str]) {
    finished.assert_failed_with(said);
    let wrong = unsaid.iter().find(|it| finished.stderr.contains(**it));
    assert_eq!(wrong, None, "{finished:#?}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_its_mode_opens_and_a_policy_closes_is_not_to_be_opened_by_chmod() {
    let scratch = Scratch::new();
    set_mode(&scratch.path(), 0o600);
    let looks = [any(libc::SYS_faccessat), any(libc::SYS_faccessat2), Refusal::open(EACCES)];
    let refused = refuse(scratch.sigshm([HELLO]), &looks.map(|it| it.with(EACCES)));
    let mut commands = vec![refused];
    for path in [scratch.path(), scratch.dir().to_owned()] {
        let mut confined = sigshm_at(path, [HELLO]);
        match confine(&mut confined, scratch.dir()) {
            Ok(()) => commands.push(confined),
            Err(error) => not_tested("a file that Landlock denies", &error.to_string()),
        }
    }
    for command in commands {
        assert_says(&run(command), &["open(", "EACCES", "policy"], &["chmod"]);
    }
}

#[test]
fn a_closed_file_is_to_be_opened_by_chmod_if_it_is_a_mode_that_closes_it_and_can_be_seen() {
    let scratch = Scratch::new();
    let [folder, link, file] = ["folder", "link", "folder/file"].map(|it| scratch.dir().join(it));
    fs::create_dir(&folder).unwrap();
    fs::write(&file, "").unwrap();
    symlink(&file, &link).unwrap();
    let (mode, list) = (r#"chmod 0 "$0""#, r#"setfacl -m u:12345:--- "$0""#);
    let (chmod, getfacl): (&[_], &[_]) = (&["EACCES", "chmod"], &["EACCES", "getfacl"]);
    let policy: &[_] = &["policy", "seccomp"];
    for (closes, closed, path, argument, said, unsaid) in [
        (mode, &file, &file, HELLO, chmod, policy),
        (mode, &folder, &file, HELLO, chmod, policy),
        (mode, &folder, &file, "--listen", chmod, policy),
        // Nobody is blamed for what a link leads to and cannot be looked at.
        (mode, &folder, &link, HELLO, &["open(", "EACCES"], &["policy", "chmod"]),
        (list, &file, &file, HELLO, getfacl, &["chmod"]),
        (list, &folder, &file, HELLO, getfacl, &["chmod"]),
    ] {
        let open = || set_mode(closed, if closed == &file { 0o644 } else { 0o755 });
        open();
        if closes == list && !Uid::effective().is_root() {
            not_tested("an access control list", "it needs root, to be somebody else");
            continue;
        }
        let set = run(Command::new("sh").args(["-c", closes]).arg(closed));
        if set.code != Some(0) {
            assert_eq!(closes, list, "{set:#?}");
            not_tested("an access control list", &set.stderr);
            continue;
        }
        let finished = run(scratch.copy_as(12345).arg("--path").arg(path).arg(argument));
        open();
        if closes == list {
            run(Command::new("setfacl").arg("-b").arg(closed));
        }
        assert_says(&finished, said, unsaid);
    }
}

#[test]
fn the_current_folder_that_its_mode_closes_is_to_be_opened_by_chmod() {
    let scratch = Scratch::new();
    let folder = scratch.dir().join("folder");
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o777);
    // It must be open while one goes there.
    let script = r#"touch file; "$0" 0 "$1"; shift; exec "$@" --path file Hello"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "chmod"]).arg(&folder);
    command.arg(scratch.copy_for_anybody()).current_dir(&folder);
    if Uid::effective().is_root() {
        chown(&folder, Some(12345), Some(12345)).unwrap();
        command.uid(12345).gid(12345);
    }
    let finished = run(&mut command);
    set_mode(&folder, 0o755);
    let said = ["open(", "EACCES", "folder", "chmod"];
    assert_says(&finished, &said, &["policy", "seccomp"]);
}

// Users.

#[test]
fn a_listener_of_another_user_may_not_be_signalled_and_no_policy_is_blamed() {
    if !Uid::effective().is_root() {
        return not_tested("a listener of another user", "it needs root");
    }
    let scratch = Scratch::new();
    let listener = Program::start(scratch.sigshm_as(54321, &["--listen"]));
    listener.until_printed("# Registering");
    let finished = run(scratch.sigshm_as(12345, &["--to", &listener.pid().to_string(), HELLO]));
    let said = ["kill(", "EPERM", "run both as one user"];
    assert_says(&finished, &said, &["policy", "seccomp"]);
    // Root might, and is refused by a policy.
    let by_root = || scratch.sender(listener.pid(), &[], HELLO);
    let finished = run(refuse(by_root(), &[any(libc::SYS_kill)]));
    assert_says(&finished, &["kill(", "EPERM", "policy"], &["user"]);
    // Root of a namespace may not, and where users have no number nobody can tell.
    for (option, part) in [("-r", "run both as one user"), ("-U", "or a policy")] {
        if run(Command::new("sh").args(["-c", r#"unshare "$0" true"#, option])).code != Some(0) {
            not_tested("root of a user namespace", "there are none");
            continue;
        }
        let finished = run(Command::new("unshare").arg(option).args(whole(&by_root())));
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
    let killed = scratch.sigshm_as(12345, &["--step", HELLO]);
    let killed = Program::start_at(killed, "the sender sends the signal");
    let left = scratch.segment();
    kill(killed.pid(), SIGKILL).unwrap();
    killed.finish();
    // Its listener, which has the lock too, ends with it.
    wait_until("the lock is free", || scratch.processes().is_empty());
    let hidden = [Refusal::shmctl(libc::IPC_STAT, EACCES)];
    const CAP_IPC_OWNER: u32 = 15; // of capabilities(7)
    // Who owns it or has created it may look at it, and root at anybody's. If not, it is a policy.
    for (user, refusals, mode, owner, cause, others) in [
        (12345, &[][..], 0, 12345, "its mode", "policy"),
        (12345, &hidden, 0o600, 12345, "policy", "its mode"),
        (12345, &hidden, 0o600, 54321, "policy", "its mode"),
        (0, &hidden, 0o600, 54321, "policy", "its mode"),
    ] {
        if user == 0 && signals(Pid::this(), "CapEff:") & (1 << CAP_IPC_OWNER) == 0 {
            not_tested("what a policy hides from root", "root may not look at each segment here");
            continue;
        }
        change_segment(&left, mode, owner);
        let next = run(refuse(scratch.sigshm_as(user, &[HELLO]), refusals));
        assert_says(
            &next,
            &[&format!("segment {} ", left.id), cause],
            &["it is another user", others],
        );
    }
}

#[test]
fn a_file_with_a_lease_is_said_to_have_one() {
    let scratch = Scratch::new();
    let file = File::create(scratch.path()).unwrap();
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
    let finished = run(scratch.sigshm([HELLO]));
    assert_says(&finished, &["open(", "lease", "--path"], &["policy"]);
}

#[test]
fn a_path_that_leads_nowhere_is_an_error_whose_sentence_is_whole() {
    let scratch = Scratch::new();
    symlink("loop", scratch.dir().join("loop")).unwrap();
    symlink("missing", scratch.dir().join("nowhere")).unwrap();
    let long = "n".repeat(300);
    for (path, part) in [
        ("shared_path/x", "(ENOTDIR); you can name"),
        (&long, "(ENAMETOOLONG); you can name"),
        ("loop", "(ELOOP); you can name"),
        ("missing", "create it (touch)"),
        ("missing/x", "there is no folder"),
        ("missing/", "it is no folder"),
        ("nowhere", "it is a link to no file"),
    ] {
        for argument in [HELLO, "--listen"] {
            let finished = run(sigshm_at(scratch.dir().join(path), [argument]));
            assert_says(&finished, &[part, "--path"], &["; or name", "policy"]);
        }
    }
}
