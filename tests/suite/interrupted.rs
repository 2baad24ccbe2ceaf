//! A signal that ends a program, at every step of a run: both processes end, nothing is left, and
//! whoever waits for the run sees it die of that signal.

use std::os::unix::fs::symlink;

use crate::support::namespaces::unshared;
use crate::support::tracer::*;
use crate::support::*;

/// How soon a run must have ended: much earlier than it would give up.
const SOON: Duration = Duration::from_secs(20);

fn hello(scratch: &Scratch) -> Command {
    scratch.sigshm(["--timeout=60", "Hello, world"])
}

/// The run, by a starter who ignores all the signals, or blocks them.
fn hello_after(starter: fn() -> nix::Result<()>) -> impl Fn(&Scratch) -> Command {
    move |scratch| {
        let mut command = hello(scratch);
        command.in_child(starter);
        command
    }
}

/// The run died of the signal and did not say why. What it printed is the beginning of the
/// transcript.
#[track_caller]
fn assert_died_of(signal: Signal, finished: &Finished) {
    let (_, stderr, text) = finished.outcome();
    assert_eq!((finished.signal, stderr), (Some(signal as i32), ""), "{finished:?}");
    let is_said = text.contains("# Listening on PID=");
    let listener = if is_said { listener_in(text) } else { 0 };
    assert!(transcript(listener, 12, "Hello, world").starts_with(text), "{signal}: {text:?}");
}

/// Sends the signal to a frozen run, which dies of it, or it comes too late and the run delivers:
/// if there is no listener, or during the last system call. Whether it died.
fn end(frozen: Frozen, target: Target, signal: Signal) -> bool {
    let (parent, listener) = (frozen.parent(), frozen.living_listener());
    let receiver = if target == Target::Listener { listener } else { Some(parent) };
    let is_early_enough = receiver.is_some_and(|pid| !frozen.is_ending(pid));
    target.send(signal, parent, listener);
    let finished = frozen.release().finish(SOON);
    if is_early_enough {
        assert_died_of(signal, &finished);
    } else {
        finished.assert_hello();
    }
    is_early_enough
}

/// Sends a signal at each of these steps of one side. The signals take turns. Each row begins with
/// another one, so that a step meets several. Their number is odd, so that each meets entries as
/// well as exits of system calls. Returns at how many steps the run died.
fn end_at(
    side: Side,
    steps: impl Iterator<Item = usize> + Send,
    command: impl Fn(&Scratch) -> Command + Sync,
    target: Target,
    first: usize,
) -> usize {
    let act = |step, _, frozen| end(frozen, target, ENDING[(first + step) % ENDING.len()]);
    at_steps(side, steps, command, act).into_iter().filter(|&died| died).count()
}

/// As [`end_at`], before the first line is printed. From then on, the other tests count.
fn end_while_it_starts(stride: usize, command: impl Fn(&Scratch) -> Command, target: Target) {
    for (step, signal) in (0..).step_by(stride).zip(ENDING.into_iter().cycle()) {
        let scratch = Scratch::new();
        let frozen = freeze(&mut command(&scratch), Point::Early(step));
        let frozen = frozen.expect("it prints a line first");
        if !frozen.printed().is_empty() {
            assert!(step > 60, "{step}");
            return;
        }
        assert!(end(frozen, target, signal), "step {step}");
    }
}

#[test]
fn whoever_gets_an_ending_signal_at_any_step_of_either_side_the_parent_dies_of_it() {
    needs!(can_trace());
    for (first, (who, at, least)) in [
        (Target::Parent, Side::Parent, 60),
        (Target::Parent, Side::Child, 30),
        (Target::Listener, Side::Child, 30),
        (Target::Listener, Side::Parent, 30),
        (Target::Group, Side::Parent, 60),
        (Target::Group, Side::Child, 30),
    ]
    .into_iter()
    .enumerate()
    {
        let deaths = end_at(at, 0.., hello, who, 2 * first);
        assert!(deaths > least, "a signal to the {who:?}, at steps of the {at:?}: {deaths}");
    }
}

#[test]
fn a_run_that_gets_an_ending_signal_while_it_starts_dies_of_it() {
    needs!(can_trace());
    end_while_it_starts(1, hello, Target::Group);
}

#[test]
fn a_run_whose_listener_sleeps_dies_of_an_ending_signal() {
    needs!(can_trace());
    let targets = [Target::Parent, Target::Listener, Target::Group].into_iter().cycle();
    let runs = start_asleep(ENDING.len(), hello).into_iter();
    for (((_scratch, released), signal), target) in runs.zip(ENDING).zip(targets) {
        let parent = released.parent();
        target.send(signal, parent, released.listener()).unwrap();
        kill(parent, SIGCONT).unwrap();
        assert_died_of(signal, &released.finish(SOON));
    }
}

#[test]
fn a_run_that_is_blocked_in_a_write_dies_of_an_ending_signal() {
    let transcript = transcript(9_999_999, 12, "Hello, world");
    let mut signals = ENDING.into_iter().cycle();
    for line in transcript.lines() {
        // Up to the PID, which is another one.
        let line = line.split("999").next().unwrap();
        for target in [Target::Parent, Target::Listener, Target::Group] {
            let scratch = Scratch::new();
            let (run, reader) = Program::start_blocked_at(line, hello(&scratch));
            let (parent, signal) = (run.pid(), signals.next().unwrap());
            // A parent that is blocked cannot know that its listener has ended. Nobody is left to
            // read.
            let is_in_vain = target == Target::Listener && is_blocked_in_write(parent);
            let is_sent = target.send(signal, parent, children(parent).first().copied());
            let reader = Some(reader).filter(|_| is_sent.is_some() && !is_in_vain);
            let finished = run.finish();
            if is_sent.is_some() {
                let ended = (finished.signal, &*finished.stderr);
                assert_eq!(ended, (Some(signal as i32), ""), "{line:?} {target:?}");
            }
            scratch.assert_nothing_left();
            drop(reader);
        }
    }
}

// While another run has the lock.

/// Waits until the run is blocked in flock(2).
fn until_blocked(pid: Pid) {
    wait_until("the run waits for the lock", || is_blocked_in(pid, libc::SYS_flock));
}

fn is_waiting_line(stderr: &str) -> bool {
    stderr.lines().count() == 1 && stderr.starts_with("sigshm: waiting: ")
}

/// The run died of the signal before it had the lock.
#[track_caller]
fn assert_ended_waiting(signal: Signal, finished: &Finished) {
    assert_eq!((finished.signal, finished.text()), (Some(signal as i32), ""), "{finished:#?}");
    let stderr = &finished.stderr;
    assert!(stderr.is_empty() || is_waiting_line(stderr), "{finished:#?}");
}

#[test]
fn a_run_that_waits_for_the_lock_dies_of_an_ending_signal() {
    let scratch = Scratch::new();
    let _lock = take_lock(&scratch);
    let runs = ENDING.map(|signal| {
        let run = Program::start(hello(&scratch));
        until_blocked(run.pid());
        (run, signal)
    });
    for (run, signal) in runs {
        kill(run.pid(), signal).unwrap();
        let finished = run.finish();
        assert_ended_waiting(signal, &finished);
        assert!(is_waiting_line(&finished.stderr), "{finished:#?}");
    }
}

/// Another process has the lock. A run looks at each of its descriptors. They are few, and always
/// as many. Those of this process are as many as other tests have open just now.
fn lock_elsewhere(scratch: &Scratch) -> Program {
    let mut sleep = Command::new("sleep");
    sleep.arg("1000").stdin(File::open(scratch.path()).unwrap());
    // SAFETY: flock takes two numbers.
    sleep.in_child(|| Errno::result(unsafe { libc::flock(0, libc::LOCK_EX) }).map(drop));
    Program::start(sleep)
}

/// Does something to a run at each step of its way to the lock, which another process has, for as
/// long as it is not dropped.
fn at_each_step_to_the_lock(
    starter: impl Fn() -> nix::Result<()> + Copy + Send + Sync + 'static,
    mut act: impl FnMut(Frozen, &mut Option<Program>),
) {
    // How many steps a run takes to find out who has the lock may still differ from run to run:
    // there are more locks in the system. So the step at which it blocks may be missed, and then
    // the next one comes when it has waited in vain.
    let (timeout, almost) = ("--timeout=5", Duration::from_millis(4900));
    let (scratch, mut lock) = (Scratch::new(), None);
    for step in 0.. {
        lock.get_or_insert_with(|| lock_elsewhere(&scratch));
        let mut command = scratch.sigshm([timeout, "Hello, world"]);
        let begun = Instant::now();
        let frozen = freeze(command.in_child(starter), Point::Step(Side::Parent, step));
        let frozen = frozen.ok().filter(|_| begun.elapsed() < almost);
        let call = frozen.as_ref().map(Frozen::call);
        if let Some(frozen) = frozen {
            act(frozen, &mut lock);
        }
        let is_blocking = call.is_none_or(|call| call == Some(libc::SYS_flock));
        if is_blocking && step > 0 {
            // The next step comes only when the lock is free.
            assert!(step > 5, "{step}");
            return;
        }
    }
}

#[test]
fn a_run_that_gets_an_ending_signal_at_any_step_of_its_way_to_the_lock_dies_of_it() {
    needs!(can_trace());
    // SIGALRM at each of them: it is the one signal that the wait for the lock itself uses.
    for signals in [&ENDING[..], &[SIGALRM]] {
        let mut signals = signals.iter().cycle();
        at_each_step_to_the_lock(
            || Ok(()),
            |frozen, _lock| {
                let signal = *signals.next().unwrap();
                kill(frozen.parent(), signal).unwrap();
                assert_ended_waiting(signal, &frozen.release().finish(SOON));
            },
        );
    }
}

/// An alarm(2) that was set before exec(2) and comes after this time.
fn set_alarm(time: Duration) -> nix::Result<()> {
    let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let it_value =
        libc::timeval { tv_sec: time.as_secs() as _, tv_usec: time.subsec_micros() as _ };
    let timer = libc::itimerval { it_interval: zero, it_value };
    // SAFETY: the timer lives until the call has returned; the one before is not asked for.
    let result = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
    Errno::result(result).map(drop)
}

#[test]
fn an_alarm_that_the_starter_has_set_ends_a_run_that_waits() {
    let time = Duration::from_millis(300);
    let (locked, unread) = (Scratch::new(), Scratch::new());
    let _lock = take_lock(&locked);
    let waits_for_lock = Program::start(hello(&locked).in_child(move || set_alarm(time)));
    let room = transcript(9_999_999, 12, "Hello, world").find("\x1b[33m# Received").unwrap();
    let mut command = hello(&unread);
    command.in_child(move || set_alarm(time));
    let (waits_for_listener, _reader) = Program::start_with_room_for(room, command);
    for (_scratch, run) in [(locked, waits_for_lock), (unread, waits_for_listener)] {
        let finished = run.finish();
        assert_eq!(finished.signal, Some(libc::SIGALRM), "{finished:#?}");
    }
}

/// A run that must wait for the lock, frozen at the point until its starter's alarm is due, which
/// ends it. Whether it was due then. `None` if the run was blocked before.
fn end_by_alarm_at(point: Point) -> Option<bool> {
    let scratch = Scratch::new();
    let _lock = lock_elsewhere(&scratch);
    // On a busy machine it may come before the run has got there. Then it is set for later.
    for doublings in 0..8 {
        let time = Duration::from_millis(100) * (1 << doublings);
        let frozen = freeze(hello(&scratch).in_child(move || set_alarm(time)), point);
        let is_due = frozen.as_ref().is_ok_and(|frozen| {
            // It comes, unless the run has stopped the timer already, and will set it again.
            let begun = Instant::now();
            let is_due = || has_signal(frozen.parent(), "ShdPnd:", SIGALRM);
            wait_until("the alarm is due", || is_due() || begun.elapsed() > time);
            is_due()
        });
        let is_met = frozen.is_ok();
        let finished = frozen.map_or_else(|ended| ended, |frozen| frozen.release().finish(SOON));
        assert_ended_waiting(SIGALRM, &finished);
        if is_met {
            return Some(is_due);
        }
        if is_waiting_line(&finished.stderr) {
            return None;
        }
    }
    panic!("the alarm comes too early");
}

#[test]
fn an_alarm_that_comes_just_before_the_run_stops_the_timer_ends_it() {
    needs!(can_trace());
    let point = Point::Call(Side::Parent, libc::SYS_setitimer);
    let was_due = (0..8).find_map(|_| end_by_alarm_at(point));
    assert_eq!(was_due, Some(true), "nobody has stopped the timer yet");
}

#[test]
fn an_alarm_that_is_due_at_any_step_of_the_way_to_the_lock_ends_the_run() {
    needs!(can_trace());
    // Every third step. Each takes as long as the alarm, so eight at the same time.
    let counts = at_once(0..8, |first| {
        let steps = (3 * first..).step_by(3 * 8);
        steps.map_while(|step| end_by_alarm_at(Point::Step(Side::Parent, step))).count()
    });
    assert!(counts.iter().sum::<usize>() > 2, "{counts:?}");
}

#[test]
fn a_run_whose_listener_uses_up_its_processor_time_dies_of_sigxcpu() {
    needs!(can_trace());
    let scratch = Scratch::new();
    // A path that takes long to look at: about a millisecond. (Linux follows at most 40 links, those
    // of a second try included.)
    fs::create_dir(scratch.dir().join("a")).unwrap();
    symlink("a/../".repeat(800), scratch.dir().join("slow")).unwrap();
    let path = scratch.dir().join("slow/".repeat(12)).join("shared_path");
    let mut command = sigshm();
    command.arg("--path").arg(path).args(["--timeout=60", "Hello, world"]);
    // What `ulimit -t 1` does.
    let released =
        start_and_stop_parent(command.in_child(|| setrlimit(Resource::RLIMIT_CPU, 1, 60)));
    let listener = released.listener().unwrap();
    // Strays give it something to do.
    wait_until("the listener has been ended", || {
        let _ = kill(listener, SIGUSR1);
        state(listener) == Some('Z')
    });
    kill(released.parent(), SIGCONT).unwrap();
    assert_died_of(SIGXCPU, &released.finish(SOON));
}

// What the starter has done to a signal.

fn ignore_all() -> nix::Result<()> {
    ENDING.into_iter().try_for_each(|it| set(it, SigHandler::SigIgn))
}

#[test]
fn ending_signals_that_the_starter_ignores_stay_ignored_at_any_step() {
    needs!(can_trace());
    // All of them at once, so that every third step is enough.
    for side in [Side::Parent, Side::Child] {
        at_steps(side, (0..).step_by(3), hello_after(ignore_all), |_, _, frozen| {
            ENDING.iter().for_each(|&signal| killpg(frozen.parent(), signal).unwrap());
            frozen.release().finish_hello();
        });
    }
}

#[test]
fn ending_signals_that_the_starter_ignores_do_not_end_the_wait_for_the_lock() {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let run = Program::start(hello_after(ignore_all)(&scratch));
    for signal in ENDING {
        until_blocked(run.pid());
        kill(run.pid(), signal).unwrap();
        wait_until("it is taken", || signals(run.pid(), "ShdPnd:") == 0);
    }
    until_blocked(run.pid());
    drop(lock);
    run.finish().assert_delivered(12, "Hello, world");
}

#[test]
fn a_sigalrm_that_the_starter_ignores_does_not_end_the_wait_for_the_lock_at_any_step() {
    needs!(can_trace());
    at_each_step_to_the_lock(
        || set(SIGALRM, SigHandler::SigIgn),
        |frozen, lock| {
            kill(frozen.parent(), SIGALRM).unwrap();
            let released = frozen.release();
            until_blocked(released.parent());
            *lock = None;
            let finished = released.finish(TIMEOUT);
            finished.assert_delivered(12, "Hello, world");
            assert!(is_waiting_line(&finished.stderr), "{finished:?}");
        },
    );
}

#[test]
fn an_ending_signal_that_the_starter_has_blocked_ends_the_run_all_the_same() {
    needs!(can_trace());
    // Every fifth step: the mask is set once, and the other tests have the steps.
    let hello = || hello_after(|| SigSet::from_iter(ENDING).thread_block());
    end_while_it_starts(5, hello(), Target::Parent);
    for (side, target) in [(Side::Parent, Target::Parent), (Side::Child, Target::Listener)] {
        let deaths = end_at(side, (0..).step_by(5), hello(), target, 0);
        assert!(deaths > if cfg!(debug_assertions) { 10 } else { 5 }, "{side:?} {deaths}");
    }
}

// As the first process of a container.

/// The program as PID 1 of a PID namespace of its own. `None`, and it says NOT TESTED, if this user
/// may not make one, or if there is no unshare(1).
#[track_caller]
fn as_pid_1(scratch: &Scratch, arguments: &[&str]) -> Option<Command> {
    let mut command = unshared("-p -f --mount-proc --kill-child", "true")?;
    command.args(whole(scratch.sigshm(["--timeout=60"]).args(arguments)));
    Some(command)
}

/// unshare(1) ends with the status of PID 1, and nothing is left.
#[track_caller]
fn assert_ended_with(signal: Signal, finished: &Finished, scratch: Scratch) {
    assert_eq!(finished.code, Some(128 + signal as i32), "{signal} {finished:#?}");
    drop(scratch);
}

#[test]
fn a_listener_that_is_pid_1_ends_with_the_status_of_an_ending_signal() {
    let mut runs = Vec::new();
    for signal in ENDING {
        let scratch = Scratch::new();
        let Some(command) = as_pid_1(&scratch, &["--listen"]) else {
            return;
        };
        runs.push((scratch, Program::start(command), signal));
    }
    for (scratch, run, signal) in runs {
        run.until_printed("# Registering");
        kill(children(run.pid())[0], signal).unwrap();
        let finished = run.finish();
        assert_eq!(finished.stderr, "");
        assert_ended_with(signal, &finished, scratch);
    }
}

#[test]
fn a_run_that_is_pid_1_ends_with_status_143_on_sigterm_and_leaves_nothing() {
    // The segment is there, and the listener is blocked in the write of its last line.
    for (index, signal) in [(1, "USR1"), (2, "USR1"), (1, "TERM"), (1, "WINCH")] {
        let scratch = Scratch::new();
        let Some(command) = as_pid_1(&scratch, &["--signal", signal, "Hello, world"]) else {
            return;
        };
        let (run, _reader) = Program::start_blocked_at("\x1b[33m# Received", command);
        assert_eq!(scratch.segments().len(), 1);
        // unshare(1), PID 1, and its listener.
        let processes = descendants(run.pid());
        assert_eq!(processes.len(), 3, "{processes:?}");
        kill(processes[index], SIGTERM).unwrap();
        let finished = run.finish();
        assert_eq!(finished.stderr, "");
        assert_ended_with(SIGTERM, &finished, scratch);
    }
}

#[test]
fn a_run_that_is_pid_1_and_waits_for_the_lock_ends_with_status_143_on_sigterm() {
    // Whether its starter has blocked the signal or not.
    for mask in [SigSet::empty(), SigSet::from(SIGTERM)] {
        let scratch = Scratch::new();
        let _lock = take_lock(&scratch);
        let Some(mut command) = as_pid_1(&scratch, &["Hello, world"]) else {
            return;
        };
        let run = Program::start(command.in_child(move || mask.thread_block()));
        run.until_complained("sigshm: waiting: ");
        kill(children(run.pid())[0], SIGTERM).unwrap();
        assert_ended_with(SIGTERM, &run.finish(), scratch);
    }
}

#[test]
fn a_pid_1_that_waits_to_print_its_help_ends_with_status_143_on_sigterm() {
    let scratch = Scratch::new();
    let Some(command) = as_pid_1(&scratch, &["--help"]) else {
        return;
    };
    let (_reader, writer) = full_pipe();
    let run = Program::start_into(writer, command);
    wait_until("it is blocked", || {
        children(run.pid()).first().is_some_and(|&pid| is_blocked_in_write(pid))
    });
    kill(children(run.pid())[0], SIGTERM).unwrap();
    assert_ended_with(SIGTERM, &run.finish(), scratch);
}
