//! When there is no more to be had: processes, descriptors, segments, memory, room on the device.
//! The error names the limit, and nothing is left.

use nix::errno::Errno::{EAGAIN, EINVAL, EIO, EMFILE, ENFILE, ENOLCK, ENOMEM, ENOSPC, ENOSYS};

use crate::support::namespaces::with_ipc_setting;
use crate::support::refusal::{Refusal, refuse};
use crate::support::strace::{Strace, inject};
use crate::support::tracer::{Point, Side, can_trace, freeze, start_and_stop_parent};
use crate::support::*;

/// What is said when there may be no more segments.
const SEGMENTS: &[&str] = &["shmget(", "ENOSPC", "kernel.shmmni", "kernel.shmall", "ipcrm"];

#[test]
fn when_no_more_processes_may_be_started_the_error_names_rlimit_nproc() {
    let scratch = Scratch::new();
    // The limit does not hold for root.
    let mut command = scratch.sigshm_as(65534, &[HELLO]);
    // The same run without the limit: it is the limit that makes the difference.
    run(&mut command).assert_delivered(12, HELLO);
    command.in_child(|| setrlimit(Resource::RLIMIT_NPROC, 1, 1));
    run(&mut command).assert_failed_with(&[
        "fork() failed",
        "EAGAIN",
        "no more processes may be started",
        "RLIMIT_NPROC",
        "ulimit -u",
        // The same errno has other limits behind it; see fork(2).
        "pids.max",
        "kernel.threads-max",
        "kernel.pid_max",
    ]);
}

#[test]
fn with_too_few_descriptors_the_error_names_rlimit_nofile() {
    // Three are inherited; then come the file, and two pipes with two ends each.
    const ENOUGH: libc::rlim_t = 8;
    // With less than four, not even the dynamic linker can do its work.
    for limit in 4..=ENOUGH {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm([HELLO]);
        command.in_child(move || setrlimit(Resource::RLIMIT_NOFILE, limit, limit));
        let finished = run(command);
        if limit == ENOUGH {
            finished.assert_delivered(12, HELLO);
        } else {
            finished.assert_failed_with(&["EMFILE", "RLIMIT_NOFILE", "ulimit -n"]);
        }
    }
}

/// Sets a limit of another process.
fn limit(pid: Pid, resource: Resource, value: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: the kernel reads the limit, which lives until the call has returned.
    let set =
        unsafe { libc::prlimit(pid.as_raw(), resource as _, &raw const limit, ptr::null_mut()) };
    Errno::result(set).unwrap();
}

#[test]
fn when_descriptors_or_memory_run_out_at_any_step_of_a_process_the_error_names_the_limit() {
    needs!(can_trace());
    let pipe: &[&str] = &["pipe(…) failed", "EMFILE", "RLIMIT_NOFILE"];
    let shmat: &[&str] = &["shmat(", "ENOMEM", "RLIMIT_AS", "ulimit -v"];
    let rows = [
        // No more than the three that every process begins with.
        ("descriptors of the sender", Side::Parent, Resource::RLIMIT_NOFILE, 3, pipe),
        // What is mapped stays; nothing more may be.
        ("memory of the sender", Side::Parent, Resource::RLIMIT_AS, 0, shmat),
        ("memory of the listener", Side::Child, Resource::RLIMIT_AS, 0, shmat),
    ];
    at_once(rows, |(case, side, resource, value, parts)| {
        let (mut failed, mut delivered) = (0, 0);
        // Each system call has two steps. The exit of one is as good as the entry of the next.
        for step in (0..).step_by(2) {
            let scratch = Scratch::new();
            let Ok(frozen) = freeze(&mut scratch.sigshm([HELLO]), Point::Step(side, step)) else {
                break;
            };
            let is_parent = side == Side::Parent;
            let pid = if is_parent { frozen.parent() } else { frozen.listener().unwrap() };
            limit(pid, resource, value);
            let finished = frozen.release().finish(TIMEOUT);
            if finished.code == Some(0) {
                finished.assert_delivered(12, HELLO);
                delivered += 1;
            } else if cfg!(target_env = "musl") && finished.stderr.starts_with("memory allocation")
            {
                // It asks the kernel for each piece of memory, so Rust's own may be the first.
                assert_eq!(finished.signal, Some(libc::SIGABRT), "{finished:#?}");
                failed += 1;
            } else {
                finished.assert_failed_with(parts);
                failed += 1;
            }
        }
        // Until the pipes are made or the segment is attached, and afterwards.
        assert!(failed >= 5 && delivered >= 5, "{case}: {failed} {delivered}");
    });
}

#[test]
fn when_not_even_one_descriptor_may_be_waited_for_the_error_names_rlimit_nofile() {
    needs!(can_trace());
    // poll(2) refuses to look at more descriptors than may be open, also at those that are.
    let scratch = Scratch::new();
    let point = Point::Call(Side::Child, libc::SYS_write);
    // The parent waits, or is about to.
    let frozen = freeze(&mut scratch.sigshm([HELLO]), point).expect("there is a listener");
    limit(frozen.parent(), Resource::RLIMIT_NOFILE, 0);
    let finished = frozen.release().finish(TIMEOUT);
    finished.assert_failed_with(&["poll(", "EINVAL", "RLIMIT_NOFILE", "ulimit -n"]);
}

#[test]
fn a_call_that_is_refused_for_want_of_something_fails_with_an_error_that_names_the_limit() {
    let [pipe, fork, shmget, flock, shmat] =
        [libc::SYS_pipe2, libc::SYS_clone, calls::SYS_shmget, libc::SYS_flock, calls::SYS_shmat]
            .map(|call| move |errno| Refusal::of(call, errno));
    let read = Refusal::of(libc::SYS_read, EIO).if_is(0, 0);
    let rows: [(Refusal, &[&str]); 16] = [
        (Refusal::open(EMFILE), &["open(", "shared_path", "EMFILE", "RLIMIT_NOFILE"]),
        (Refusal::open(ENFILE), &["open(", "shared_path", "ENFILE", "fs.file-max"]),
        (Refusal::open(ENOMEM), &["open(", "shared_path", "ENOMEM", "memory"]),
        (read, &["read(0, ", "EIO", "; --step reads Enter from standard input\n"]),
        (pipe(EMFILE), &["pipe(", "EMFILE", "RLIMIT_NOFILE"]),
        (pipe(ENFILE), &["pipe(", "ENFILE", "fs.file-max", "fs.pipe-user-pages-hard"]),
        (fork(ENOMEM), &["fork() failed", "ENOMEM", "memory"]),
        (fork(EAGAIN), &["fork() failed", "EAGAIN", "RLIMIT_NPROC"]),
        (shmget(ENOSPC), SEGMENTS),
        (shmget(ENOMEM), &["shmget(", "ENOMEM", "memory"]),
        (shmget(ENFILE), &["shmget(", "ENFILE", "fs.file-max"]),
        (shmget(EINVAL), &["shmget(", "EINVAL", "kernel.shmmax"]),
        (shmget(ENOSYS), &["shmget(", "ENOSYS", "System V", "CONFIG_SYSVIPC"]),
        (flock(ENOLCK), &["flock(", "ENOLCK", "no memory for one more lock", "--path"]),
        // The sender, and then only the listener.
        (shmat(ENOMEM), &["shmat(", "ENOMEM", "RLIMIT_AS"]),
        (Refusal::read_only_shmat(ENOMEM), &["shmat(", "SHM_RDONLY", "ENOMEM", "RLIMIT_AS"]),
    ];
    for (refusal, parts) in rows {
        let scratch = Scratch::new();
        let option = if refusal == read { "--step" } else { "--color=auto" };
        let finished = run(refuse(scratch.sigshm([option, HELLO]), &[refusal]));
        finished.assert_failed_with(parts);
        // Another file would be of use only to the one that has no locks.
        assert_eq!(finished.stderr.contains("--path"), parts.contains(&"--path"));
        // A listener, which the transcript names, has been reaped.
        if finished.text().contains("# Listening") {
            assert!(is_gone(Pid::from_raw(listener_in(finished.text()))), "{finished:#?}");
        }
        scratch.assert_nothing_left();
        // And with the obstacle out of the way, everything is as it should be.
        run(scratch.sigshm([HELLO])).assert_delivered(12, HELLO);
    }
}

#[test]
fn whichever_call_of_the_story_fails_there_is_one_error_or_none() {
    needs!(Strace::find().is_some());
    let calls = [
        ["open", "flock", "sigaction", "sigprocmask"],
        ["pipe", "fork", "read", "write"],
        ["shmget", "shmat", "shmctl", "shmdt"],
        ["kill", "waitpid", "pselect", "stat"],
    ];
    // How the runs ended in which this call failed.
    let each = |call: &str| {
        let mut codes = Vec::new();
        for number in 1.. {
            // What could not be removed or ended is removed and ended with the folder.
            let scratch = Scratch::unchecked();
            let log = scratch.dir().join("log");
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-e", &inject(call, "error=EIO", &number.to_string())]);
            strace.arg("-o").arg(&log).args(whole(&scratch.sigshm([HELLO])));
            strace.env_remove("NO_COLOR");
            with_default_signals(&mut strace);
            let finished = run(strace);
            if !fs::read_to_string(log).unwrap().contains("(INJECTED)") {
                break;
            }
            // Before `main`, the dynamic linker and the standard library speak for themselves.
            let theirs = ["error while loading shared libraries", "fatal runtime error"];
            let before_main = finished.text().is_empty()
                && theirs.iter().any(|words| finished.stderr.contains(words));
            let mut said: Vec<_> =
                finished.stderr.lines().map(|it| it.split(": ").nth(1).unwrap_or(it)).collect();
            said.sort();
            let is_right = match (finished.code, &said[..]) {
                (Some(0), []) => true,
                // What could not be removed or ended is said too.
                (Some(1), ["error"] | ["cleaning up", "error"]) => {
                    finished.stderr.starts_with("sigshm: ")
                }
                _ => before_main,
            };
            assert!(is_right, "{call} number {number}: {finished:#?}");
            codes.push(finished.code);
        }
        codes
    };
    let codes: Vec<_> = at_once(calls, |calls| calls.map(each).concat()).concat();
    let failed = codes.iter().filter(|it| **it == Some(1)).count();
    assert!(codes.len() > 50 && failed > 30, "{} {failed}", codes.len());
}

#[test]
fn a_run_that_cannot_attach_its_segment_is_told_to_remove_its_own() {
    let scratch = Scratch::new();
    let command = scratch.sigshm(["--explain", "--color=never", HELLO]);
    let finished = run(refuse(command, &[Refusal::of(calls::SYS_shmat, ENOMEM)]));
    finished.assert_failed_with(&["shmat(", "ENOMEM"]);
    let text = finished.text();
    assert!(text.contains("  removes the segment\n"), "{text}");
    assert!(!text.contains("what was left"), "{text}");
}

#[test]
fn a_device_that_is_full_at_any_line_is_an_error_and_nothing_is_left() {
    let scratch = Scratch::new();
    let whole = run(scratch.sigshm([HELLO])).text().to_owned();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 11);
    for line in lines {
        let scratch = Scratch::new();
        // Every write of this length fails, and so the first line that has it.
        let refusal = Refusal::of(libc::SYS_write, ENOSPC).if_is(2, line.len() as i32);
        let finished = run(refuse(scratch.sigshm([HELLO]), &[refusal]));
        if finished.code == Some(0) {
            // Only where the length depends on a PID, and this one has not as many digits.
            let listener = listener_in(finished.text()).to_string();
            assert!(line.contains("PID="), "{line:?}");
            assert_ne!(listener.len(), listener_in(&whole).to_string().len());
            continue;
        }
        finished.assert_failed_with(&[
            &format!("write(1, …, {}) failed", line.len()),
            "No space left on device (ENOSPC)",
            "make room",
        ]);
    }
}

#[test]
fn when_the_system_has_no_more_segments_the_error_names_shmmni_and_shmall() {
    for limit in ["shmmni", "shmall"] {
        let scratch = Scratch::new();
        let demo = scratch.sigshm([HELLO]);
        // If the limit may not be set, the kernel only says so.
        let command = with_ipc_setting(limit, 0, &demo)
            .unwrap_or_else(|| refuse(demo, &[Refusal::of(calls::SYS_shmget, ENOSPC)]));
        run(command).assert_failed_with(SEGMENTS);
    }
}

#[test]
fn started_with_more_descriptors_than_can_be_waited_for_it_delivers_or_fails_clearly() {
    needs!(can_trace());
    let raise = || setrlimit(Resource::RLIMIT_NOFILE, 2048, 2048);
    if let Err(error) = Command::new("true").in_child(raise).status() {
        let what = "more descriptors than can be waited for";
        return not_tested(what, &format!("RLIMIT_NOFILE may not be raised: {error}"));
    }
    // How many are open at first, and which one the listener's end of the parent's pipe will be.
    for (open, descriptor, option, must_sleep) in [
        (1100, 1101, "--wait=spin", false),
        (1100, 1101, "--wait=spin", true),
        (1100, 1101, "--wait=sleep", true),
        (1100, 1103, "--explain", true),
        // The last one that can be waited for, and the next.
        (1022, 1023, "--wait=sleep", true),
        (1023, 1024, "--wait=sleep", true),
    ] {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm([option, "--timeout=60", HELLO]);
        command.in_child(move || {
            raise()?;
            // Standard input, again and again: exec does not close these.
            for descriptor in 3..open {
                // SAFETY: what is open here already, exec closes, and not before; then `spawn`
                // returns.
                unsafe {
                    libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 1100);
                    libc::dup2(0, descriptor);
                }
            }
            Ok(())
        });
        let finished = if must_sleep {
            // No signal comes, and the listener stops spinning.
            let run = start_and_stop_parent(&mut command);
            let listener = run.listener().unwrap();
            wait_until("the listener has ended or sleeps", || {
                state(listener) == Some('Z') || is_blocked_in(listener, libc::SYS_pselect6)
            });
            kill(run.parent(), SIGCONT).unwrap();
            run.finish(TIMEOUT)
        } else {
            run(command)
        };
        if descriptor < 1024 || finished.code == Some(0) && !must_sleep {
            finished.assert_delivered(12, HELLO);
            continue;
        }
        let error = format!("pselect(2) cannot wait for descriptor {descriptor}, which");
        finished.assert_failed_with(&[&error, "FD_SETSIZE", "fewer open files"]);
        // No call was made that could have failed. And it does not help to raise RLIMIT_NOFILE.
        let said = [finished.stderr.as_str(), finished.text()].concat();
        for untrue in ["failed", "EINVAL", "RLIMIT_NOFILE"] {
            assert!(!said.contains(untrue), "{option}: {finished:#?}");
        }
    }
}
