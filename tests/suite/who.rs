//! Who is who: which process `--to` takes for a listener, what it does if a fact is unknown, which
//! user counts, and what holds a process that does not go on.

use nix::unistd::{gettid, setresuid};

use crate::support::namespaces::unshared;
use crate::support::refusal::{Refusal, refuse};
use crate::support::terminal::Terminal;
use crate::support::tracer::{Point, Side, can_trace, freeze};
use crate::support::*;

/// The sender's stop at which it has its handlers, and the signal has not been sent.
const SENDS: &str = "the sender sends the signal";

/// The message has come, and both say so.
#[track_caller]
fn assert_delivered(sender: Command, listener: Program) {
    assert_eq!(run(sender).outcome(), (Some(0), "", &*sent(2, "hi")));
    assert!(listener.finish_well().contains("# Received: hi"));
}

// A handler is not yet a listener.

/// The sender has said this, has not found that `/proc` is another's, and has begun nothing.
#[track_caller]
fn assert_refused(scratch: &Scratch, finished: &Finished, parts: &[&str]) {
    finished.assert_failed_with(parts);
    assert!(!finished.stderr.contains("mount it"), "{finished:#?}");
    assert_eq!((finished.text(), scratch.segments()), ("", vec![]));
}

/// The sender refuses the process, which catches the signal, and says why.
#[track_caller]
fn assert_cleans_up(pid: Pid, program: &str, signal: Signal) {
    assert!(has_signal(pid, "SigCgt:", signal), "it catches it");
    let scratch = Scratch::new(); // not that of a target of ours, which has the lock
    let name = format!("--signal={}", &signal.as_str()[3..]);
    let finished = run(scratch.sender(pid, &[&name, "--timeout=2"], "hi"));
    let who = format!("PID {pid} ({program:?})");
    assert_refused(&scratch, &finished, &[&who, "SIGXCPU and SIGVTALRM", "clean"]);
    assert!(!matches!(state(pid), None | Some('Z')), "it is alive");
}

#[test]
fn programs_that_catch_signals_to_clean_up_are_refused() {
    let rows: [(&[&str], &str, i32); 6] = [
        (&["bash", "--norc", "--noprofile", "-i"], "exit 42", 42),
        (&["vim", "-N", "-u", "NONE", "-i", "NONE", "-n"], ":q!", 0),
        // It catches SIGURG too, as a program in Go does. (That of busybox catches nothing.)
        (&["top"], "q", 0),
        // So do these. And each catches a signal that stops a program, as none in Go does.
        (&["sh", "-c", "trap : TSTP URG USR1 USR2 XCPU VTALRM; read it"], "", 0),
        (&["sh", "-c", "trap : TTIN URG USR1 USR2 XCPU VTALRM; read it"], "", 0),
        (&["sh", "-c", "trap : TTOU URG USR1 USR2 XCPU VTALRM; read it"], "", 0),
    ];
    for (words, end, status) in rows {
        let program = words[0];
        if !is_there(program) {
            continue;
        }
        // It was -v before version 4.
        let is_procps = |option: &&str| {
            let version = Command::new(program).arg(option).output().unwrap();
            String::from_utf8_lossy(&version.stdout).contains("procps")
        };
        if program == "top" && !["-V", "-v"].iter().any(is_procps) {
            not_tested(program, "it is not that of procps");
            continue;
        }
        let mut command = Command::new(program);
        command.args(&words[1..]).env("TERM", "xterm");
        with_default_signals(&mut command);
        let mut session = Program::start_on(Terminal::new(), command);
        let pid = session.pid();
        wait_until("it catches what ends a program", || {
            let needed = bit(SIGVTALRM) | bit(SIGXCPU) | bit(SIGUSR1);
            signals(pid, "SigCgt:") & needed == needed
        });
        for signal in [SIGUSR1, SIGUSR2] {
            assert_cleans_up(pid, program, signal);
        }
        session.press(&format!("{end}\n"));
        assert_eq!(session.finish().code, Some(status));
    }
}

#[test]
fn a_sender_of_ours_catches_signals_to_clean_up_and_is_refused() {
    let options = ["--signal=USR2", "--step"];
    for (signals, is_demo) in [([SIGUSR1, SIGTERM], true), ([SIGUSR1, SIGALRM], false)] {
        let scratch = Scratch::new();
        let listener = (!is_demo).then(|| scratch.listen(&options[..1]));
        let mut command = match &listener {
            None => scratch.sigshm(options.iter().chain(&["hi"])),
            Some(listener) => scratch.sender(listener.pid(), &options, "hi"),
        };
        // What the starter ignores is no handler. (One of the two that tell is there all the same.)
        let ignored = if is_demo { SIGXCPU } else { SIGVTALRM };
        command.in_child(move || set(ignored, SigHandler::SigIgn));
        let mut sender = Program::start_at(command, SENDS);
        for signal in signals {
            assert_cleans_up(sender.pid(), "sigshm", signal);
        }
        // It is unharmed, and delivers its own message.
        sender.enter_for_ever();
        sender.finish_well();
        if let Some(listener) = listener {
            assert!(listener.finish_well().contains("# Received: hi"));
        }
    }
}

#[test]
fn a_listener_in_any_language_is_taken_for_one() {
    const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/listener");
    let scratch = Scratch::new();
    let has_python = python_as_peer("a listener in Python").is_some();
    let [python, perl, bash, ruby, go] =
        ["py", "pl", "sh", "rb", "go"].map(|language| format!("{PEERS}.{language}"));
    let (has_c, has_go) = (compiles_c(), is_there("go"));
    let c = if has_c { compile_peer("listener") } else { PathBuf::new() };
    let compiled = scratch.dir().join("listener-in-go");
    if has_go {
        let mut compile = Command::new("go");
        compile.args(["build", "-o"]).arg(&compiled).arg(go).env("GOTOOLCHAIN", "local");
        println!("{:?}", run(compile));
    }
    let (path, key) = (scratch.path(), scratch.key().to_string());
    let (path, text) = (path.to_str().unwrap(), size_of::<[usize; 2]>().to_string());
    let reader = ["/usr/bin/env", "perl", &perl, &key, &text, "came"];
    let [has_perl, has_bash] = [is_there("perl"), is_there("bash")];
    let has_ruby = is_there("ruby");
    for (is_there, program, arguments) in [
        (has_c, c.to_str().unwrap(), vec![path]),
        (has_python, "python3", vec!["-B", &python, path]),
        (has_python, "python3", vec!["-B", "-X", "faulthandler", &python, path]),
        (has_perl, "perl", vec![&perl, &key, &text]),
        (has_bash && has_perl, "bash", [&[&*bash], &reader[..]].concat()),
        (has_ruby && has_perl, "ruby", [&[&*ruby], &reader[..]].concat()),
        (has_go && has_perl, compiled.to_str().unwrap(), reader.to_vec()),
    ] {
        if !is_there {
            continue;
        }
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped());
        with_default_signals(&mut command);
        let listener = Program::start(command);
        listener.until_printed("# Listening on PID=");
        // Not always the PID of what was started: that may be a script that looks for the program.
        let pid = Pid::from_raw(listener_in(&listener.printed()));
        assert_delivered(scratch.sender(pid, &[], "hi"), listener);
        scratch.assert_nothing_left();
    }
}

/// The shell script as PID 1 of a namespace, if that works here.
#[track_caller]
fn as_pid_1(script: &str) -> Option<Command> {
    let mut command = unshared("-p -f --mount-proc --kill-child", "true")?;
    command.args(["sh", "-c", script, "sh"]);
    Some(command)
}

/// As PID 1, a listener of ours has the handlers that clean up.
#[test]
fn a_shell_that_is_pid_1_of_its_namespace_is_refused_all_the_same() {
    needs!(is_there("bash"));
    let Some(mut outer) = as_pid_1("exec bash --norc --noprofile -i") else { return };
    let outer = Program::start(outer.stdin(Stdio::piped()));
    let mut pid = Pid::from_raw(0);
    wait_until("the shell catches what ends a program", || {
        pid = children(outer.pid()).first().copied().unwrap_or(pid);
        pid.as_raw() > 0 && has_signal(pid, "SigCgt:", SIGVTALRM)
    });
    assert_cleans_up(pid, "bash", SIGUSR1);
}

#[test]
fn a_listener_that_is_pid_1_of_its_namespace_is_reached_from_outside_and_from_inside() {
    let scratch = Scratch::new();
    let Some(mut outer) = as_pid_1(r#"exec "$@""#) else { return };
    let outer = Program::start(outer.args(whole(&scratch.sigshm(["--listen"]))));
    outer.until_printed("# Registering");
    let pid = children(outer.pid())[0];
    assert_eq!(listener_in(&outer.printed()), 1);
    assert!(has_signal(pid, "SigCgt:", SIGXCPU));
    assert_delivered(scratch.sender(pid, &[], "hi"), outer);

    // If PID 1 ends, the kernel kills its whole namespace, the sender too. So it has stops.
    let script = r#"mkfifo in
        { exec 3> in; echo >&3; echo >&3; echo >&3
          until grep -qs Registering listener; do sleep .02; done
          "$@" --to 1 hi > sender 2>&1; echo $? >> sender; exec 3>&-; } &
        exec "$@" --listen --step < in > listener"#;
    let mut inner = as_pid_1(script).unwrap();
    inner.args(whole(&scratch.sigshm(["--color=never"])));
    let finished = run(inner.current_dir(scratch.dir()));
    let said = ["sender", "listener"].map(|it| fs::read_to_string(scratch.dir().join(it)).unwrap());
    assert_eq!(said[0], plain(&sent(2, "hi")) + "0\n", "{finished:#?}");
    assert!(said[1].contains("# Received: hi"), "{finished:#?}");
}

// What is not known is not false.

/// The program in a mount namespace of its own, in which the script has mounted something.
#[track_caller]
fn with_mount(program: &Command, script: &str, directory: &Path) -> Option<Command> {
    let mut command = unshared("-m", "mount --bind /dev/null /proc/$$/status")?;
    command.args(["sh", "-c", &format!(r#"{{ {script}; }} && exec "$@""#), "sh"]);
    command.args(whole(program)).current_dir(directory);
    Some(command)
}

/// A script that changes this file by this command.
fn changed(file: &str, command: &str) -> String {
    format!("{command} {file} > changed; mount --bind changed {file}")
}

/// A script that takes this line out of a process's status. (`.` takes all lines.)
fn without(line: &str, process: &str) -> String {
    changed(&format!("/proc/{process}/status"), &format!("grep -v '^{line}'"))
}

#[test]
fn a_line_that_the_proc_of_the_listener_lacks_is_named_or_not_asked_for() {
    for line in ["SigCgt", "SigCgt:", "Uid", "NSpid", "TracerPid", "ns", "stat", "comm"] {
        let scratch = Scratch::new();
        let listener = scratch.listen(&[]);
        let pid = listener.pid();
        let status = format!("/proc/{pid}/status");
        let script = match line {
            "SigCgt:" => changed(&status, "sed 's/^SigCgt:.*/SigCgt:\tzzz/'"),
            "ns" => format!("mkdir empty; mount --bind empty /proc/{pid}/ns"),
            "stat" | "comm" => format!("mount --bind /dev/null /proc/{pid}/{line}"),
            line => without(line, &pid.to_string()),
        };
        let sender = scratch.sender(pid, &[], "hi");
        let Some(sender) = with_mount(&sender, &script, scratch.dir()) else { return };
        if line.starts_with("SigCgt") {
            // Whether it would be killed cannot be told: this one is not safe.
            let lacks = if line == "SigCgt" { "no line" } else { "no number in its line" };
            let lacks = format!("{status} has {lacks} SigCgt");
            assert_refused(&scratch, &run(sender), &[&lacks]);
            assert!(listener.is_alive() && !is_pending(pid));
        } else {
            assert_delivered(sender, listener);
        }
    }
}

#[test]
fn a_sender_of_ours_whose_proc_lacks_its_pids_is_not_taken_for_pid_1() {
    let scratch = Scratch::new();
    let target = scratch.sigshm(["--signal=USR2", "--step", "hi"]);
    let mut target = Program::start_at(target, SENDS);
    let elsewhere = Scratch::new();
    let script = without("NSpid", &target.pid().to_string());
    let sender = elsewhere.sender(target.pid(), &["--timeout=2"], "hi");
    if let Some(sender) = with_mount(&sender, &script, elsewhere.dir()) {
        run(sender).assert_failed_with(&["SIGXCPU and SIGVTALRM", "clean"]);
    }
    target.enter_for_ever();
    target.finish_well();
}

#[test]
fn a_line_that_the_programs_own_status_lacks_is_named_or_not_asked_for() {
    let scratch = Scratch::new();
    // The script's process becomes the program.
    let own = |command: &Command, line| with_mount(command, &without(line, "$$"), scratch.dir());
    let listener = scratch.listen(&[]);
    let sender = || scratch.sender(listener.pid(), &[], "hi");
    let Some(without_nspid) = own(&sender(), "NSpid") else { return };
    // Whose /proc it is cannot be told, also where a policy hides it. It is not said to be somebody
    // else's.
    let refusals = [Refusal::of(libc::SYS_readlinkat, Errno::EACCES)];
    for (sender, parts) in [
        (without_nspid, ["/proc/self/status has no line NSpid", ""]),
        (refuse(sender(), &refusals), ["/proc/self cannot be read", "EACCES"]),
    ] {
        assert_refused(&scratch, &run(sender), &parts);
        assert!(listener.is_alive() && !is_pending(listener.pid()));
    }
    assert_delivered(own(&sender(), "Uid").unwrap(), listener);

    // The demo and a listener need not know who anybody else is.
    for line in ["NSpid", "Uid", "."] {
        run(own(&scratch.sigshm(["hi"]), line).unwrap()).assert_delivered(2, "hi");
        let listener = Program::start(own(&scratch.sigshm(["--listen"]), line).unwrap());
        listener.until_printed("# Registering");
        assert_delivered(scratch.sender(listener.pid(), &[], "hi"), listener);
    }
}

// The user, as the kernel sees it.

/// A user other than root: this one, if root does not run the tests.
const USER: u32 = 12345;

/// As whom a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    User,
    /// That user, to whom geteuid(2) and its like say 0, as under fakeroot.
    FakeRoot,
    /// That user, started by another one: as if the program's file had the set-user-ID bit.
    SetUser,
}

fn as_user(scratch: &Scratch, who: As, options: &[&str]) -> Command {
    let mut command = scratch.sigshm_as(USER, options);
    if who == As::FakeRoot {
        // The way to it may be closed to others, as that to the program.
        let copy = scratch.dir().join("fake_user.so");
        if !copy.exists() {
            fs::copy(library("FAKE_USER"), &copy).unwrap();
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
        }
        preload(&mut command, &copy);
    }
    if who == As::SetUser {
        set_real_user(&mut command);
    }
    command
}

fn set_real_user(command: &mut Command) {
    let (real, user) = (Uid::from_raw(54321), Uid::from_raw(USER));
    command.uid(0).in_child(move || setresuid(real, user, user));
}

/// Whether a program that is started so, with these refusals, has that effective user.
fn keeps_effective_user(refusals: &[Refusal]) -> bool {
    let mut id = Command::new("id");
    set_real_user(id.arg("-u"));
    run(refuse(id, refusals)).text().trim() == USER.to_string()
}

/// The program has loaded that library if it is to. (A static one would not.)
#[track_caller]
fn assert_is_faked(program: &Program, who: As) {
    // Its own user may look at what it has mapped; root of a container may not.
    let mut grep = Command::new("grep");
    grep.args(["-q", "fake_user.so"]).arg(format!("/proc/{}/maps", program.pid()));
    if Uid::effective().is_root() {
        grep.uid(USER).gid(USER);
    }
    assert_eq!(run(grep).code == Some(0), who == As::FakeRoot);
}

#[test]
fn it_is_the_effective_user_as_the_kernel_sees_it_that_counts_and_no_faked_and_no_real_one() {
    for (listens, sends) in [
        (As::User, As::FakeRoot),
        (As::FakeRoot, As::User),
        (As::FakeRoot, As::FakeRoot),
        (As::SetUser, As::User),
        (As::User, As::SetUser),
    ] {
        if [listens, sends].contains(&As::SetUser) && !Uid::effective().is_root() {
            not_tested("a real user that is not the effective one", "it needs root");
            continue;
        }
        if [listens, sends].contains(&As::FakeRoot) && !loads_libraries() {
            continue;
        }
        let scratch = Scratch::new();
        let listener = Program::start(as_user(&scratch, listens, &["--listen"]));
        listener.until_printed("# Registering");
        assert_is_faked(&listener, listens);
        let to = listener.pid().to_string();
        let sender = || as_user(&scratch, sends, &["--to", &to, "hi"]);
        // If it is refused all the same, it is not for the user.
        let refusal = [Refusal::of(libc::SYS_kill, Errno::EPERM)];
        if sends == As::SetUser && !keeps_effective_user(&refusal) {
            let why = "up to Linux 6.15 a filter makes the real user the effective one";
            not_tested("a call that is refused to another real user", why);
        } else {
            let refused = run(refuse(sender(), &refusal));
            refused.assert_failed_with(&["kill(", "; a security policy forbids this call"]);
        }
        assert_delivered(sender(), listener);
    }
}

#[test]
fn what_a_killed_run_left_is_reclaimed_by_one_that_is_told_that_it_is_root() {
    needs!(loads_libraries());
    for (is_killed, is_next) in
        [(As::User, As::FakeRoot), (As::FakeRoot, As::User), (As::FakeRoot, As::FakeRoot)]
    {
        let scratch = Scratch::new();
        let killed = Program::start_at(as_user(&scratch, is_killed, &["--step", "hi"]), SENDS);
        assert_is_faked(&killed, is_killed);
        kill(killed.pid(), SIGKILL).unwrap();
        killed.finish();
        let id = scratch.segments()[0].id;
        let next = || as_user(&scratch, is_next, &["--timeout=2", "hi"]);
        let finished = run(refuse(next(), &[Refusal::shmctl(libc::IPC_STAT, Errno::EACCES)]));
        assert!(finished.stderr.contains("policy"), "{finished:#?}");
        let finished = run(next());
        finished.assert_delivered(2, "hi");
        assert!(finished.stderr.contains(&format!("segment {id}")), "{finished:#?}");
    }
}

#[test]
fn under_fakeroot_a_listener_and_a_sender_reach_each_other() {
    if !is_there("fakeroot") {
        return;
    }
    let scratch = Scratch::new();
    let program = as_user(&scratch, As::User, &["--color=never", "--timeout=5"]);
    fs::set_permissions(scratch.dir(), Permissions::from_mode(0o777)).unwrap();
    // It ends by itself, and does not start in the folder: fakeroot's server, which has more to
    // remove than itself, must not be killed with what a failed test leaves there.
    let script = r#"cd "$0"; id -u; "$@" --listen > listener & L=$!
        until grep -qs Registering listener || ! kill -0 $L; do sleep .02; done
        "$@" --to $L hi; echo $?; wait $L; echo $?; cat listener"#;
    let trial = run(Command::new("fakeroot").args(whole(sigshm().arg("--version"))));
    if trial.code == Some(127) {
        return not_tested("fakeroot", "it is for programs of another C library");
    }
    let mut command = Command::new("fakeroot");
    command.args(["sh", "-c", script]).arg(scratch.dir());
    command.args(whole(&program)).current_dir("/").env_remove("NO_COLOR").stdin(Stdio::null());
    with_default_signals(&mut command);
    if Uid::effective().is_root() {
        command.uid(USER).gid(USER);
    }
    let finished = run(command);
    let text = finished.text();
    assert!(text.starts_with("0\n"), "fakeroot fakes: {finished:#?}");
    assert!(text.contains("# All done. Freeing memory.\n0\n0\n"), "{text}");
    assert!(text.ends_with("# Received: hi\n"), "{finished:#?}");
}

// What holds a listener.

/// What the error of a run ends with if something holds another process.
const RUN_AGAIN: &str = "it; run again, and let it go on before the --timeout is over";

/// The run gives up, and names what holds the other one. It is no use to wait longer, and the other
/// one is at the right file.
#[track_caller]
fn assert_names(finished: &Finished, parts: &[&str]) {
    finished.assert_failed_with(parts);
    let untrue = ["listen at the same file", "only slow"];
    assert!(!untrue.iter().any(|it| finished.stderr.contains(it)), "{finished:#?}");
    assert!(!finished.text().contains("# All done"), "{finished:#?}");
}

#[test]
fn a_listener_that_a_debugger_holds_is_said_to_be_held_by_it() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    let pid = listener.pid();
    if let Err(errno) = ptrace::seize(pid, ptrace::Options::empty()) {
        return not_tested("a listener that a debugger holds", errno.desc());
    }
    ptrace::interrupt(pid).unwrap();
    waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap();
    assert_eq!(state(pid), Some('t'));
    let tracer = format!("PID {}", status(pid, "TracerPid:"));
    let finished = run(scratch.sender(pid, &["--timeout=.5"], "hi"));
    // Without the debugger it goes on.
    ptrace::detach(pid, None).unwrap();
    assert_names(&finished, &[&tracer, "traces"]);
    listener.until_complained("still listening");
    scratch.assert_delivers("hi", listener, &["no segment is at this key"]);
}

#[test]
fn a_listener_that_a_signal_has_stopped_is_said_to_be_stopped() {
    let scratch = Scratch::new();
    let listener = scratch.listen(&[]);
    listener.stop();
    let finished = run(scratch.sender(listener.pid(), &["--timeout=.5"], "hi"));
    assert_names(&finished, &["a signal has stopped"]);
}

#[test]
fn a_holder_of_the_lock_that_a_signal_has_stopped_is_said_to_be_stopped() {
    let scratch = Scratch::unchecked();
    let holder = Program::start_at(scratch.sigshm(["--step", "hi"]), SENDS);
    holder.stop();
    let mut waiter = scratch.sigshm(["--timeout=.5", "hi"]);
    // As if somebody had another lock too, by fcntl(2), which comes first.
    let others = format!("sed 'h; s/FLOCK/POSIX/; s/ {} / 1 /; G'", holder.pid());
    if let Some(mounted) = with_mount(&waiter, &changed("/proc/locks", &others), scratch.dir()) {
        waiter = mounted;
    }
    let waiter = run(waiter);
    let error = format!(
        "has locked the file {:?}: it was not free within 0.5 seconds: a signal has stopped \
         {RUN_AGAIN}\n",
        scratch.path()
    );
    assert!(waiter.stderr.ends_with(&error), "{waiter:#?}");
}

#[test]
fn a_listener_at_a_stop_is_said_to_have_the_signal_pending() {
    let scratch = Scratch::new();
    let listener = scratch.sigshm(["--listen", "--step"]);
    let listener = Program::start_at(listener, "its handler is in place");
    let pid = listener.pid();
    let finished = run(scratch.sender(pid, &["--timeout=.5"], "hi"));
    assert!(is_pending(pid));
    finished.assert_failed_with(&[&format!("PID {pid}"), "pending"]);
    assert!(!finished.stderr.contains("listen at the same file"), "{finished:#?}");
}

#[test]
fn the_childs_debugger_or_its_stop_is_named_by_the_demo() {
    needs!(can_trace());
    // Before it is ready, and after the signal.
    let points = [Point::Ready, Point::Call(Side::Parent, libc::SYS_kill)];
    let rows = [true, false].into_iter().flat_map(|it| points.map(|point| (it, point)));
    at_once(rows, |(is_traced, point)| {
        let scratch = Scratch::new();
        let mut demo = scratch.sigshm(["--timeout=.5", "hi"]);
        let mut frozen = freeze(&mut demo, point).expect("it comes there");
        let child = frozen.listener().unwrap();
        let (cause, traces) = if is_traced {
            frozen.release_parent();
            // The parent kills it, and it is this thread, its tracer, that has to be told.
            wait_until("it is killed", || state(child) == Some('Z'));
            (format!("PID {} (", gettid()), "traces")
        } else {
            kill(child, SIGSTOP).unwrap();
            ("a signal has stopped".to_owned(), "")
        };
        let finished = frozen.release().finish(TIMEOUT);
        assert_names(&finished, &[&format!("PID {child}"), &cause, traces, RUN_AGAIN]);
    });
}

/// The file that freezes a control group of the test's own; see cgroups(7).
struct Freezer(PathBuf);

impl Drop for Freezer {
    /// A frozen process may not even be killed, and a group can be removed when it is empty.
    fn drop(&mut self) {
        let _ = fs::write(&self.0, if self.0.ends_with("freezer.state") { "THAWED" } else { "0" });
        let group = self.0.parent().unwrap();
        let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for member in members.lines() {
            let _ = fs::write(group.with_file_name("cgroup.procs"), member);
        }
        let _ = fs::remove_dir(group);
    }
}

#[test]
fn a_listener_in_a_frozen_control_group_is_said_to_be_frozen() {
    let mut tested = 0;
    for (root, file, frozen) in [
        ("freezer", "freezer.state", "FROZEN"),
        ("unified", "cgroup.freeze", "1"),
        ("", "cgroup.freeze", "1"),
    ] {
        let (scratch, root) = (Scratch::new(), Path::new("/sys/fs/cgroup").join(root));
        let folder = root.join(format!("sigshm-test-{}", std::process::id()));
        if !root.join("cgroup.procs").exists() || fs::create_dir(&folder).is_err() {
            continue;
        }
        let listener = scratch.listen(&[]);
        let pid = listener.pid();
        let freezer = Freezer(folder.join(file));
        let is_in = fs::write(folder.join("cgroup.procs"), pid.to_string());
        if is_in.and(fs::write(&freezer.0, frozen)).is_err() {
            continue;
        }
        let finished = run(scratch.sender(pid, &["--timeout=.5"], "hi"));
        drop(freezer);
        assert_names(&finished, &[&format!("PID {pid}"), "frozen"]);
        listener.until_complained("still listening");
        tested += 1;
    }
    if tested == 0 {
        not_tested("a frozen control group", "no control group may be made here");
    }
}
