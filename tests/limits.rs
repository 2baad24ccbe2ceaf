//! When there is no more to be had: processes, descriptors, segments, memory, room on the device.
//! The error names the limit, and nothing is left.

use nix::sched::{CloneFlags, unshare};

use crate::support::refusal::{Refusal, refuse};
use crate::support::tracer::{Point, Side, freeze};
use crate::support::*;

/// What the hint says of a limit on segments.
const SEGMENTS: [&str; 3] = ["kernel.shmmni", "kernel.shmall", "ipcrm"];

#[test]
fn when_no_more_processes_may_be_started_the_error_names_rlimit_nproc() {
    let scratch = Scratch::new();
    // The limit does not hold for root, so root runs a copy that somebody else may execute, as
    // somebody else.
    let mut command = Command::new(scratch.copy_for_anybody());
    command.env_remove("NO_COLOR").arg("--path").arg(scratch.path()).arg("Hello, world");
    if Uid::effective().is_root() {
        command.uid(65534).gid(65534);
    }
    // The same run without the limit: it is the limit that makes the difference.
    run(&mut command).assert_delivered(12, "Hello, world");
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
    const ENOUGH: u64 = 8;
    // With less than four, not even the dynamic linker can do its work.
    for limit in 4..=ENOUGH {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["Hello, world"]);
        // SAFETY: between fork and exec this makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                // What the test itself has inherited is not to be counted.
                let flags = libc::CLOSE_RANGE_CLOEXEC as i32;
                if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(setrlimit(Resource::RLIMIT_NOFILE, limit, limit)?)
            })
        };
        let finished = run(&mut command);
        if limit == ENOUGH {
            finished.assert_delivered(12, "Hello, world");
        } else {
            finished.assert_failed_with(&["EMFILE", "RLIMIT_NOFILE", "ulimit -n"]);
        }
    }
}

/// The steps at which a limit is set: each system call has two, its entry and its exit, and it
/// makes no difference whether a limit is set after one call or before the next.
fn steps() -> impl Iterator<Item = usize> {
    (0..).step_by(2)
}

#[test]
fn when_the_descriptors_run_out_at_any_step_the_error_names_rlimit_nofile() {
    let (mut failed, mut delivered) = (0, 0);
    for step in steps() {
        let scratch = Scratch::new();
        let point = Point::Step(Side::Parent, step);
        let Ok(frozen) = freeze(&mut scratch.sigshm(["Hello, world"]), point) else {
            break;
        };
        // No more than the three that every process begins with.
        limit(frozen.parent(), libc::RLIMIT_NOFILE, 3);
        let finished = frozen.release().finish(TIMEOUT);
        if finished.code == Some(0) {
            finished.assert_delivered(12, "Hello, world");
            delivered += 1;
        } else {
            finished.assert_failed_with(&["pipe(…) failed", "EMFILE", "RLIMIT_NOFILE"]);
            failed += 1;
        }
    }
    // Until the pipes are made, and afterwards.
    assert!(failed >= 5 && delivered >= 5, "{failed} {delivered}");
}

#[test]
fn when_not_even_one_descriptor_may_be_waited_for_the_error_names_rlimit_nofile() {
    // poll(2) refuses to look at more descriptors than may be open, also at those that are.
    let scratch = Scratch::new();
    let point = Point::Call(Side::Child, libc::SYS_write);
    // The parent waits, or is about to.
    let frozen = freeze(&mut scratch.sigshm(["Hello, world"]), point).expect("there is a listener");
    limit(frozen.parent(), libc::RLIMIT_NOFILE, 0);
    let finished = frozen.release().finish(TIMEOUT);
    finished.assert_failed_with(&["poll(", "EINVAL", "RLIMIT_NOFILE", "ulimit -n"]);
}

#[test]
fn when_memory_runs_out_at_any_step_of_the_sender_the_error_names_rlimit_as() {
    assert_memory_runs_out(Side::Parent);
}

#[test]
fn when_memory_runs_out_at_any_step_of_the_listener_the_error_names_rlimit_as() {
    assert_memory_runs_out(Side::Child);
}

#[track_caller]
fn assert_memory_runs_out(side: Side) {
    let (mut failed, mut delivered) = (0, 0);
    for step in steps() {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["Hello, world"]);
        let Ok(frozen) = freeze(&mut command, Point::Step(side, step)) else {
            break;
        };
        let pid = match side {
            Side::Parent => frozen.parent(),
            Side::Child => frozen.listener().unwrap(),
        };
        // What is mapped stays; nothing more may be.
        limit(pid, libc::RLIMIT_AS, 0);
        let finished = frozen.release().finish(TIMEOUT);
        if finished.code == Some(0) {
            finished.assert_delivered(12, "Hello, world");
            delivered += 1;
        } else {
            finished.assert_failed_with(&["shmat(", "ENOMEM", "RLIMIT_AS", "ulimit -v"]);
            failed += 1;
        }
    }
    // Until the segment is attached, and afterwards.
    assert!(failed >= 5 && delivered >= 5, "{failed} {delivered}");
}

/// Sets a limit of another process.
fn limit(pid: Pid, resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: libc::RLIM_INFINITY };
    let mut before = limit;
    // SAFETY: both pointers are to values that live until the call has returned.
    unsafe { libc::prlimit(pid.as_raw(), resource, std::ptr::null(), &raw mut before) };
    let limit = libc::rlimit { rlim_max: before.rlim_max, ..limit };
    // SAFETY: as above.
    let set =
        unsafe { libc::prlimit(pid.as_raw(), resource, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// A run for which the kernel refuses a system call.
fn refused(scratch: &Scratch, refusal: Refusal) -> Finished {
    let mut command = scratch.sigshm(["Hello, world"]);
    refuse(&mut command, [refusal]);
    run(&mut command)
}

#[test]
fn a_call_that_is_refused_for_want_of_something_fails_with_an_error_that_names_the_limit() {
    let new_file = libc::O_NONBLOCK as u32;
    let fork = [libc::SYS_clone, libc::SYS_clone3];
    let read_only = libc::SHM_RDONLY as u32;
    let cases: &[(Refusal, &[&str])] = &[
        (
            Refusal::of(libc::SYS_openat, libc::EMFILE).when(2, new_file, new_file),
            &["open(", "shared_path", "EMFILE", "RLIMIT_NOFILE"],
        ),
        (
            Refusal::of(libc::SYS_openat, libc::ENFILE).when(2, new_file, new_file),
            &["open(", "shared_path", "ENFILE", "fs.file-max"],
        ),
        (Refusal::of(libc::SYS_pipe2, libc::EMFILE), &["pipe(", "EMFILE", "RLIMIT_NOFILE"]),
        (
            Refusal::of(libc::SYS_pipe2, libc::ENFILE),
            &["pipe(", "ENFILE", "fs.file-max", "fs.pipe-user-pages-hard"],
        ),
        (Refusal::of(fork[0], libc::ENOMEM), &["fork() failed", "ENOMEM", "memory"]),
        (Refusal::of(fork[0], libc::EAGAIN), &["fork() failed", "EAGAIN", "RLIMIT_NPROC"]),
        (
            Refusal::of(libc::SYS_shmget, libc::ENOSPC),
            &["shmget(", "ENOSPC", SEGMENTS[0], SEGMENTS[1], SEGMENTS[2]],
        ),
        (Refusal::of(libc::SYS_shmget, libc::ENOMEM), &["shmget(", "ENOMEM", "memory"]),
        (Refusal::of(libc::SYS_shmget, libc::ENFILE), &["shmget(", "ENFILE", "fs.file-max"]),
        (Refusal::of(libc::SYS_shmget, libc::EINVAL), &["shmget(", "EINVAL", "kernel.shmmax"]),
        (Refusal::of(libc::SYS_shmget, libc::ENOSYS), &["shmget(", "ENOSYS", "CONFIG_SYSVIPC"]),
        (
            Refusal::of(libc::SYS_flock, libc::ENOLCK),
            &["flock(", "ENOLCK", "no memory for one more lock", "--path"],
        ),
        // The sender, and then only the listener.
        (Refusal::of(libc::SYS_shmat, libc::ENOMEM), &["shmat(", "ENOMEM", "RLIMIT_AS"]),
        (
            Refusal::of(libc::SYS_shmat, libc::ENOMEM).when(2, read_only, read_only),
            &["shmat(", "SHM_RDONLY", "ENOMEM", "RLIMIT_AS"],
        ),
    ];
    for &(refusal, parts) in cases {
        let scratch = Scratch::new();
        refused(&scratch, refusal).assert_failed_with(parts);
        scratch.assert_nothing_left();
        // And with the obstacle out of the way, everything is as it should be.
        run(scratch.sigshm(["Hello, world"])).assert_delivered(12, "Hello, world");
    }
}

#[test]
fn whichever_call_of_the_story_fails_there_is_one_error_or_none() {
    const CALLS: [&str; 16] = [
        "openat",
        "flock",
        "rt_sigaction",
        "rt_sigprocmask",
        "pipe2",
        "clone",
        "read",
        "write",
        "shmget",
        "shmat",
        "shmctl",
        "shmdt",
        "kill",
        "wait4",
        "pselect6",
        "newfstatat",
    ];
    if Command::new("strace").arg("-V").output().is_err() {
        return not_tested("each call that fails", "there is no strace");
    }
    let (tried, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let each = |call: &str| {
        for number in 1.. {
            let scratch = Scratch::unchecked();
            let log = scratch.dir().join("log");
            let program = scratch.sigshm(["Hello, world"]);
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-e", &format!("inject={call}:error=EIO:when={number}")]);
            strace.arg("-o").arg(&log).arg(program.get_program()).args(program.get_args());
            strace.env_remove("NO_COLOR");
            with_default_signals(&mut strace);
            let finished = run(&mut strace);
            if !std::fs::read_to_string(log).unwrap().contains("(INJECTED)") {
                break;
            }
            tried.fetch_add(1, Ordering::Relaxed);
            let said: Vec<&str> = finished.stderr.lines().collect();
            // Before `main`, the dynamic linker and the standard library speak for themselves.
            let theirs = ["error while loading shared libraries", "fatal runtime error"];
            let before_main = finished.text().is_empty()
                && theirs.iter().any(|words| finished.stderr.contains(words));
            let is_right = match finished.code {
                Some(0) => said.is_empty(),
                // What could not be removed or ended is said too.
                Some(1) => match said[..] {
                    [error] => error.starts_with("sigshm: error: "),
                    [one, other] => {
                        let mut starts = [one, other].map(|it| it.split(": ").nth(1));
                        starts.sort();
                        starts == [Some("cleaning up"), Some("error")]
                    }
                    _ => false,
                },
                _ => false,
            };
            assert!(is_right || before_main, "{call} number {number}: {finished:#?}");
            failed.fetch_add(usize::from(finished.code == Some(1)), Ordering::Relaxed);
            // What could not be removed or ended is removed and ended with the folder.
        }
    };
    thread::scope(|scope| {
        for calls in CALLS.chunks(CALLS.len() / 4) {
            scope.spawn(|| calls.iter().for_each(|call| each(call)));
        }
    });
    let (tried, failed) = (tried.into_inner(), failed.into_inner());
    assert!(tried > 40 && failed > 20, "{tried} {failed}");
}

#[test]
fn a_run_that_cannot_attach_its_segment_is_told_to_remove_its_own() {
    let scratch = Scratch::new();
    let mut command = scratch.sigshm(["--explain", "--color=never", "Hello, world"]);
    let refusal = Refusal::of(libc::SYS_shmat, libc::ENOMEM);
    // SAFETY: between fork and exec this makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(move || refusal.install()) };
    let finished = run(&mut command);
    finished.assert_failed_with(&["shmat(", "ENOMEM"]);
    let text = finished.text();
    assert!(text.contains("  removes the segment\n"), "{text}");
    assert!(!text.contains("what was left"), "{text}");
}

#[test]
fn a_device_that_is_full_at_any_line_is_an_error_and_nothing_is_left() {
    let scratch = Scratch::new();
    let whole = run(scratch.sigshm(["Hello, world"])).text().to_owned();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 11);
    for line in lines {
        let scratch = Scratch::new();
        // Every write of this length fails, and so the first line that has it.
        let refusal =
            Refusal::of(libc::SYS_write, libc::ENOSPC).when(2, u32::MAX, line.len() as u32);
        let finished = refused(&scratch, refusal);
        if finished.code == Some(0) {
            // Only where the length depends on a PID, and this one has more digits than the one
            // before, or less.
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

/// Moves the calling process into a namespace of its own for System V IPC, and sets limits there.
///
/// Allocates nothing, so that it may be called between fork and exec.
fn in_a_namespace_with(limit: &std::ffi::CStr, value: &[u8]) -> io::Result<()> {
    let mut flags = CloneFlags::CLONE_NEWIPC;
    if !Uid::effective().is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags)?;
    // SAFETY: the path is NUL-terminated, the bytes written are `value`'s, and the segment made
    // first is nobody else's.
    unsafe {
        // One segment, so that a limit of one is reached.
        if libc::shmget(libc::IPC_PRIVATE, 1, 0o600) < 0 {
            return Err(io::Error::last_os_error());
        }
        let file = libc::open(limit.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file < 0 || libc::write(file, value.as_ptr().cast(), value.len()) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::close(file);
    }
    Ok(())
}

#[test]
fn when_the_system_has_no_more_segments_the_error_names_shmmni_and_shmall() {
    for limit in [c"/proc/sys/kernel/shmmni", c"/proc/sys/kernel/shmall"] {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["Hello, world"]);
        // SAFETY: between fork and exec this makes system calls only, and allocates nothing.
        unsafe { command.pre_exec(move || in_a_namespace_with(limit, b"1")) };
        let expected = ["shmget(", "ENOSPC", SEGMENTS[0], SEGMENTS[1], SEGMENTS[2]];
        match command.output() {
            Ok(output) => {
                let stderr = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(1), "{stderr}");
                assert_eq!(stderr.lines().count(), 1, "{stderr}");
                for part in expected {
                    assert!(stderr.contains(part), "{part:?} is not in {stderr:?}");
                }
            }
            Err(error) => {
                // Then the kernel only says so.
                let what = format!("reaching {limit:?}");
                not_tested(&what, &format!("there are no IPC namespaces here ({error})"));
                let refusal = Refusal::of(libc::SYS_shmget, libc::ENOSPC);
                refused(&scratch, refusal).assert_failed_with(&expected);
            }
        }
        // In the system's own namespace. What was made in the other one has gone with it.
    }
}

/// A run that is started with so many open descriptors that what it opens itself is beyond
/// FD_SETSIZE.
fn with_many_descriptors(scratch: &Scratch, option: &str) -> Command {
    let mut command = scratch.sigshm([option, "--timeout=60", "Hello, world"]);
    // SAFETY: between fork and exec this makes system calls only, and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            setrlimit(Resource::RLIMIT_NOFILE, 2048, 2048)?;
            // Standard input, again and again: exec does not close these.
            for descriptor in 3..1100 {
                // What is open here already, exec closes, and not before; then `spawn` returns.
                libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 1100);
                libc::dup2(0, descriptor);
            }
            Ok(())
        })
    };
    command
}

/// What the listener says that has to sleep, but cannot wait for its parent's pipe.
#[track_caller]
fn assert_names_fd_setsize(finished: &Finished) {
    finished.assert_failed_with(&[
        "pselect(2) cannot wait for descriptor 11",
        "FD_SETSIZE",
        "fewer open files",
    ]);
    // No call was made that could have failed. And it does not help to raise RLIMIT_NOFILE.
    let untrue = ["failed", "EINVAL", "RLIMIT_NOFILE"];
    let is_said = |it: &&str| finished.stderr.contains(it) || finished.text().contains(it);
    assert_eq!(untrue.iter().find(|it| is_said(it)), None, "{finished:#?}");
}

#[test]
fn started_with_more_descriptors_than_can_be_waited_for_it_delivers_or_fails_clearly() {
    let scratch = Scratch::new();
    let finished = run(with_many_descriptors(&scratch, "--wait=spin"));
    // It delivers if the signal comes while the listener spins.
    if finished.code == Some(0) {
        finished.assert_delivered(12, "Hello, world");
    } else {
        assert_names_fd_setsize(&finished);
    }
}

#[test]
fn a_listener_that_must_sleep_with_more_descriptors_than_can_be_waited_for_fails_clearly() {
    for option in ["--wait=spin", "--wait=sleep", "--explain"] {
        let scratch = Scratch::new();
        let point = Point::Call(Side::Parent, libc::SYS_shmget);
        let mut command = with_many_descriptors(&scratch, option);
        let frozen = freeze(&mut command, point).expect("there is a sender");
        // The sender is stopped when that call is done. No signal comes, and the listener stops
        // spinning.
        let (parent, listener) = (frozen.parent(), frozen.listener().unwrap());
        kill(parent, SIGSTOP).unwrap();
        let released = frozen.release();
        wait_until("the listener has ended", || state(listener) == Some('Z'));
        kill(parent, SIGCONT).unwrap();
        assert_names_fd_setsize(&released.finish(TIMEOUT));
    }
}
