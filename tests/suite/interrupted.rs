//! A signal that ends a program, at every step of a run: both processes end, nothing is left, and
//! whoever waits for the run sees it die of that signal.

use crate::support::tracer::{Frozen, Point, Released, Side, freeze, start_and_stop_parent};
use crate::support::*;

/// How soon a run must have ended: much earlier than it would give up.
const SOON: Duration = Duration::from_secs(20);

/// The signal for a step. They take turns. Each test begins with another one, so that a step meets
/// several. Their number is odd, so that each meets entries as well as exits of system calls.
fn signal_for(step: usize, first: usize) -> Signal {
    ENDING[(step + first) % ENDING.len()]
}

/// The run, which leaves no core file when SIGQUIT and its like end it.
fn hello(scratch: &Scratch) -> Command {
    without_core(scratch.sigshm(["--timeout=60", "Hello, world"]))
}

fn without_core(mut command: Command) -> Command {
    command.in_child(|| setrlimit(Resource::RLIMIT_CORE, 0, 0));
    command
}

/// The run, as started by a process that has had its way with some signals.
fn started_by(command: &mut Command, starter: impl Fn() -> io::Result<()> + Send + Sync + 'static) {
    // SAFETY: the starters below make a few system calls, and allocate nothing.
    unsafe { command.pre_exec(starter) };
}

/// Whom the signal is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Parent,
    Listener,
    Group,
}

impl Target {
    /// Sends the signal. Whether it comes early enough to end the run: not if there is no listener,
    /// and not during the last system call.
    fn send(self, frozen: &Frozen, signal: Signal) -> bool {
        let parent = frozen.parent();
        match self {
            Self::Parent => kill(parent, signal).unwrap(),
            Self::Group => killpg(parent, signal).unwrap(),
            Self::Listener => {
                let Some(listener) = frozen.living_listener() else {
                    return false;
                };
                kill(listener, signal).unwrap();
                return !frozen.is_ending(listener);
            }
        }
        !frozen.is_ending(parent)
    }
}

/// The run died of the signal and did not say why. What it printed is the beginning of the
/// transcript.
#[track_caller]
fn assert_died_of(signal: Signal, finished: &Finished, context: &str) {
    let ended = (finished.signal, finished.stderr.as_str());
    let text = finished.text();
    assert_eq!(ended, (Some(signal as i32), ""), "{context}: {finished:?}");
    let is_said = text.contains("# Listening on PID=");
    let listener = if is_said { listener_in(text) } else { 0 };
    let transcript = transcript(listener, 12, "Hello, world");
    assert!(transcript.starts_with(text), "{context}: {text:?}");
}

/// Runs the command, and sends the signal at the point. `None` if the run ends before, otherwise
/// whether the signal came early enough; then the run has died of it, and if not it has delivered.
fn end_at(
    scratch: &Scratch,
    command: &mut Command,
    point: Point,
    target: Target,
    signal: Signal,
) -> Option<bool> {
    let frozen = match freeze(command, point) {
        Ok(frozen) => frozen,
        Err(finished) => {
            finished.assert_delivered(12, "Hello, world");
            return None;
        }
    };
    let is_early_enough = target.send(&frozen, signal);
    let finished = frozen.release().finish(SOON);
    if is_early_enough {
        let context = format!("{signal} to {target:?} at {point:?}");
        assert_died_of(signal, &finished, &context);
    } else {
        finished.assert_delivered(12, "Hello, world");
        assert_eq!(finished.stderr, "");
    }
    scratch.assert_nothing_left();
    Some(is_early_enough)
}

/// Sends a signal at every step of one side. At how many of them the run died.
fn end_at_every_step(side: Side, target: Target, first: usize) -> usize {
    let mut deaths = 0;
    for step in 0.. {
        let scratch = Scratch::new();
        let point = Point::Step(side, step);
        let signal = signal_for(step, first);
        let Some(died) = end_at(&scratch, &mut hello(&scratch), point, target, signal) else {
            break;
        };
        deaths += usize::from(died);
    }
    deaths
}

#[test]
fn a_parent_that_gets_an_ending_signal_at_any_step_dies_of_it() {
    let deaths = end_at_every_step(Side::Parent, Target::Parent, 0);
    assert!(deaths > 60, "{deaths}");
}

#[test]
fn a_parent_that_gets_an_ending_signal_at_any_step_of_the_listener_dies_of_it() {
    let deaths = end_at_every_step(Side::Child, Target::Parent, 2);
    assert!(deaths > 30, "{deaths}");
}

#[test]
fn when_the_listener_gets_an_ending_signal_at_any_step_the_parent_dies_of_it_too() {
    let deaths = end_at_every_step(Side::Child, Target::Listener, 4);
    assert!(deaths > 30, "{deaths}");
}

#[test]
fn when_the_listener_gets_an_ending_signal_at_any_step_of_the_parent_the_parent_dies_of_it_too() {
    let deaths = end_at_every_step(Side::Parent, Target::Listener, 6);
    assert!(deaths > 30, "{deaths}");
}

#[test]
fn a_group_that_gets_an_ending_signal_at_any_step_of_the_parent_dies_of_it() {
    let deaths = end_at_every_step(Side::Parent, Target::Group, 8);
    assert!(deaths > 60, "{deaths}");
}

#[test]
fn a_group_that_gets_an_ending_signal_at_any_step_of_the_listener_dies_of_it() {
    let deaths = end_at_every_step(Side::Child, Target::Group, 10);
    assert!(deaths > 30, "{deaths}");
}

#[test]
fn a_run_that_gets_an_ending_signal_while_it_starts_dies_of_it() {
    for step in 0.. {
        let scratch = Scratch::new();
        let signal = signal_for(step, 0);
        let mut command = hello(&scratch);
        let frozen = freeze(&mut command, Point::Early(step)).expect("it takes the lock first");
        if frozen.call() == Some(libc::SYS_flock) {
            // From here on, the other tests count.
            assert!(step > 60, "{step}");
            break;
        }
        killpg(frozen.parent(), signal).unwrap();
        let finished = frozen.release().finish(SOON);
        assert_died_of(signal, &finished, &format!("{signal} at early step {step}"));
    }
}

#[test]
fn a_run_whose_listener_sleeps_dies_of_an_ending_signal() {
    let targets = [Target::Parent, Target::Listener, Target::Group];
    let mut runs: Vec<(Scratch, Released, Target, Signal)> = Vec::new();
    for (index, signal) in ENDING.into_iter().enumerate() {
        let scratch = Scratch::new();
        let released = start_and_stop_parent(&mut hello(&scratch));
        runs.push((scratch, released, targets[index % 3], signal));
    }
    for (_scratch, released, target, signal) in runs {
        released.until_listener_sleeps();
        let parent = released.parent();
        match target {
            Target::Parent => kill(parent, signal).unwrap(),
            Target::Listener => kill(released.listener().unwrap(), signal).unwrap(),
            Target::Group => killpg(parent, signal).unwrap(),
        }
        kill(parent, SIGCONT).unwrap();
        let finished = released.finish(SOON);
        assert_died_of(signal, &finished, &format!("{signal} to {target:?}"));
    }
}

/// A run whose standard output is not read any more from the line on that begins so. It is a
/// process group of its own. Returns when one of its processes is blocked in a write.
fn block_in_write_of(line: &str, mut command: Command) -> (Program, OwnedFd) {
    // The longest PID that there is. If it is shorter, the room that is left is still too small.
    let transcript = transcript(9_999_999, 12, "Hello, world");
    let room = transcript.find(line).unwrap();
    let (run, reader) = Program::start_with_room_for(room, command.process_group(0));
    wait_until("the run is blocked in a write", || {
        let processes = descendants(run.pid());
        processes.into_iter().any(|pid| is_blocked_in(pid, libc::SYS_write))
    });
    (run, reader)
}

/// The process, its children, and theirs.
fn descendants(pid: Pid) -> Vec<Pid> {
    let mut all = vec![pid];
    for child in children(pid) {
        all.extend(descendants(child));
    }
    all
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
            let (run, reader) = block_in_write_of(line, hello(&scratch));
            let (parent, signal) = (run.pid(), signals.next().unwrap());
            let parent_is_blocked = is_blocked_in(parent, libc::SYS_write);
            match (target, children(parent).first()) {
                (Target::Parent, _) => kill(parent, signal).unwrap(),
                (Target::Group, _) => killpg(parent, signal).unwrap(),
                (Target::Listener, Some(&listener)) => kill(listener, signal).unwrap(),
                (Target::Listener, None) => {
                    drop(reader);
                    run.finish();
                    continue;
                }
            }
            // A parent that is blocked cannot know that its listener has ended. Nobody is left to
            // read.
            let reader = Some(reader).filter(|_| target != Target::Listener || !parent_is_blocked);
            let finished = run.finish();
            let ended = (finished.signal, finished.stderr.as_str());
            assert_eq!(ended, (Some(signal as i32), ""), "{line:?} {target:?}");
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
        assert_eq!(finished.signal, Some(signal as i32), "{finished:#?}");
        assert_eq!(finished.text(), "");
        assert!(is_waiting_line(&finished.stderr), "{finished:#?}");
    }
}

/// How many steps a run takes to find out who has the lock differs from run to run. So the step at
/// which it blocks may be missed, and then the next one comes when it has waited in vain.
const WAITS_A_WHILE: &str = "--timeout=5";
const WAIT: Duration = Duration::from_millis(4900);

#[test]
fn a_run_that_gets_an_ending_signal_at_any_step_of_its_way_to_the_lock_dies_of_it() {
    for step in 0.. {
        let mut is_blocking = false;
        // SIGALRM at each of them: it is the one signal that the wait for the lock itself uses.
        for signal in [SIGALRM, signal_for(step, 0)] {
            let scratch = Scratch::new();
            let _lock = take_lock(&scratch);
            let mut command = without_core(scratch.sigshm([WAITS_A_WHILE, "Hello, world"]));
            let begun = Instant::now();
            let Ok(frozen) = freeze(&mut command, Point::Step(Side::Parent, step)) else {
                is_blocking = true;
                break;
            };
            is_blocking = frozen.call() == Some(libc::SYS_flock) && step > 0;
            if begun.elapsed() > WAIT {
                is_blocking = true;
                break;
            }
            kill(frozen.parent(), signal).unwrap();
            let finished = frozen.release().finish(SOON);
            assert_eq!(
                finished.signal,
                Some(signal as i32),
                "{signal} at step {step}: {finished:#?}"
            );
            assert_eq!(finished.text(), "");
            assert!(
                finished.stderr.is_empty() || is_waiting_line(&finished.stderr),
                "{finished:#?}"
            );
        }
        if is_blocking {
            // The next step comes only when the lock is free.
            assert!(step > 5, "{step}");
            break;
        }
    }
}

/// A signal that comes soon, as an alarm(2) that was set before exec(2).
fn set_alarm() -> io::Result<()> {
    set_alarm_after(Duration::from_millis(300))
}

/// As [`set_alarm`], after this time.
fn set_alarm_after(time: Duration) -> io::Result<()> {
    let timeval = |time: Duration| libc::timeval {
        tv_sec: time.as_secs() as libc::time_t,
        tv_usec: time.subsec_micros() as libc::suseconds_t,
    };
    let timer = libc::itimerval { it_interval: timeval(Duration::ZERO), it_value: timeval(time) };
    // SAFETY: the timer lives until the call has returned, and what was set before is not asked
    // for.
    let result = unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[test]
fn an_alarm_that_the_starter_has_set_ends_a_run_that_waits() {
    let (locked, unread) = (Scratch::new(), Scratch::new());
    let _lock = take_lock(&locked);
    let mut waits_for_lock = hello(&locked);
    started_by(&mut waits_for_lock, set_alarm);
    let mut waits_for_listener = hello(&unread);
    started_by(&mut waits_for_listener, set_alarm);

    let waits_for_lock = Program::start(&mut waits_for_lock);
    let transcript = transcript(9_999_999, 12, "Hello, world");
    let room = transcript.find("\x1b[33m# Received").unwrap();
    let (waits_for_listener, _reader) = Program::start_with_room_for(room, &mut waits_for_listener);
    for (scratch, run) in [(locked, waits_for_lock), (unread, waits_for_listener)] {
        let finished = run.finish();
        assert_eq!(finished.signal, Some(libc::SIGALRM), "{finished:#?}");
        scratch.assert_nothing_left();
    }
}

/// When the alarm of the tests below comes. On a busy machine it may come before the run has got to
/// where it is to be met. Then it is set for later.
fn alarm_times() -> impl Iterator<Item = Duration> {
    (0..8).map(|doublings| Duration::from_millis(100) * (1 << doublings))
}

/// A run that must wait for the lock, frozen at the point until its starter's alarm is due. The
/// error is a run that the alarm has ended before.
fn freeze_until_alarm_is_due(
    scratch: &Scratch,
    time: Duration,
    point: Point,
) -> Result<Frozen, Finished> {
    let mut command = hello(scratch);
    started_by(&mut command, move || set_alarm_after(time));
    let frozen = freeze(&mut command, point).inspect_err(assert_ended_by_alarm)?;
    // It comes, unless the run has stopped the timer already, and will set it again.
    let begun = Instant::now();
    wait_until("the alarm is due", || is_alarm_pending(&frozen) || begun.elapsed() > time);
    Ok(frozen)
}

fn is_alarm_pending(frozen: &Frozen) -> bool {
    has_signal(frozen.parent(), "ShdPnd:", SIGALRM)
}

#[track_caller]
fn assert_ended_by_alarm(finished: &Finished) {
    assert_eq!(finished.signal, Some(libc::SIGALRM), "{finished:#?}");
    assert_eq!(finished.text(), "");
    let stderr = &finished.stderr;
    assert!(stderr.is_empty() || is_waiting_line(stderr), "{finished:#?}");
}

#[test]
fn an_alarm_that_comes_just_before_the_run_stops_the_timer_ends_it() {
    let scratch = Scratch::new();
    let _lock = take_lock(&scratch);
    let point = Point::Call(Side::Parent, libc::SYS_setitimer);
    let mut frozen =
        alarm_times().filter_map(|time| freeze_until_alarm_is_due(&scratch, time, point).ok());
    let frozen = frozen.next().expect("it stops the timer first");
    assert!(is_alarm_pending(&frozen), "nobody has stopped the timer yet");
    assert_ended_by_alarm(&frozen.release().finish(SOON));
}

#[test]
fn an_alarm_that_is_due_at_any_step_of_the_way_to_the_lock_ends_the_run() {
    // Every third step: each takes as long as the alarm.
    for step in (0..).step_by(3) {
        let scratch = Scratch::new();
        let _lock = take_lock(&scratch);
        let point = Point::Step(Side::Parent, step);
        let mut runs = alarm_times().map(|time| freeze_until_alarm_is_due(&scratch, time, point));
        let has_waited = |ended: &Finished| is_waiting_line(&ended.stderr);
        let run = runs.find(|run| run.as_ref().err().is_none_or(has_waited));
        let Ok(frozen) = run.expect("the alarm comes late enough") else {
            // It was blocked, and there are no more steps.
            assert!(step > 5, "{step}");
            break;
        };
        assert_ended_by_alarm(&frozen.release().finish(SOON));
    }
}

#[test]
fn a_run_whose_listener_uses_up_its_processor_time_dies_of_sigxcpu() {
    let scratch = Scratch::new();
    let mut command = hello(&scratch);
    // What `ulimit -t 1` does.
    started_by(&mut command, || Ok(setrlimit(Resource::RLIMIT_CPU, 1, 60)?));
    let released = start_and_stop_parent(&mut command);
    let listener = released.listener().unwrap();
    // Strays give it something to do.
    wait_until("the listener has been ended", || {
        for _ in 0..1000 {
            let _ = kill(listener, SIGUSR1);
        }
        state(listener) == Some('Z')
    });
    kill(released.parent(), SIGCONT).unwrap();
    let finished = released.finish(SOON);
    assert_died_of(SIGXCPU, &finished, "ulimit -t 1");
}

// What the starter has done to a signal.

fn ignore(ignored: Signal) -> io::Result<()> {
    // SAFETY: ignoring a signal installs no function.
    unsafe { signal(ignored, SigHandler::SigIgn) }?;
    Ok(())
}

fn ignore_all() -> io::Result<()> {
    ENDING.into_iter().try_for_each(ignore)
}

#[test]
fn ending_signals_that_the_starter_ignores_stay_ignored_at_any_step() {
    // All of them at once, so that every third step is enough.
    for side in [Side::Parent, Side::Child] {
        for step in (0..).step_by(3) {
            let scratch = Scratch::new();
            let mut command = hello(&scratch);
            started_by(&mut command, ignore_all);
            let Ok(frozen) = freeze(&mut command, Point::Step(side, step)) else {
                assert!(step > 30, "{step}");
                break;
            };
            for signal in ENDING {
                killpg(frozen.parent(), signal).unwrap();
            }
            let finished = frozen.release().finish(TIMEOUT);
            finished.assert_delivered(12, "Hello, world");
            assert_eq!(finished.stderr, "", "step {step} of {side:?}");
        }
    }
}

/// Whether none of these signals is waiting to be taken by the process; see proc_pid_status(5).
fn has_taken_all(pid: Pid) -> bool {
    signals(pid, "ShdPnd:") == 0
}

#[test]
fn ending_signals_that_the_starter_ignores_do_not_end_the_wait_for_the_lock() {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let mut command = hello(&scratch);
    started_by(&mut command, ignore_all);
    let run = Program::start(&mut command);
    for signal in ENDING {
        until_blocked(run.pid());
        kill(run.pid(), signal).unwrap();
        wait_until("it is taken", || has_taken_all(run.pid()));
    }
    until_blocked(run.pid());
    drop(lock);
    run.finish().assert_delivered(12, "Hello, world");
}

#[test]
fn a_sigalrm_that_the_starter_ignores_does_not_end_the_wait_for_the_lock_at_any_step() {
    for step in 0.. {
        let scratch = Scratch::new();
        let lock = take_lock(&scratch);
        let mut command = without_core(scratch.sigshm([WAITS_A_WHILE, "Hello, world"]));
        started_by(&mut command, || ignore(SIGALRM));
        let begun = Instant::now();
        let frozen = freeze(&mut command, Point::Step(Side::Parent, step));
        let Some(frozen) = frozen.ok().filter(|_| begun.elapsed() < WAIT) else {
            assert!(step > 5, "{step}");
            break;
        };
        let is_blocking = frozen.call() == Some(libc::SYS_flock) && step > 0;
        kill(frozen.parent(), SIGALRM).unwrap();
        let released = frozen.release();
        until_blocked(released.parent());
        drop(lock);
        let finished = released.finish(TIMEOUT);
        finished.assert_delivered(12, "Hello, world");
        assert!(is_waiting_line(&finished.stderr), "step {step} {finished:?}");
        scratch.assert_nothing_left();
        if is_blocking {
            assert!(step > 5, "{step}");
            break;
        }
    }
}

#[test]
fn an_ending_signal_that_the_starter_has_blocked_ends_the_run_all_the_same() {
    // Every fifth step: the mask is set once, and the other tests have the steps.
    type At = fn(usize) -> Point;
    let kinds: [(At, Target); 3] = [
        (Point::Early, Target::Parent),
        (|step| Point::Step(Side::Parent, step), Target::Parent),
        (|step| Point::Step(Side::Child, step), Target::Listener),
    ];
    for (point, target) in kinds {
        let mut deaths = 0;
        for step in (0..).step_by(5) {
            let scratch = Scratch::new();
            let mut command = hello(&scratch);
            let signal = signal_for(step, 0);
            started_by(&mut command, move || Ok(SigSet::from(signal).thread_block()?));
            match end_at(&scratch, &mut command, point(step), target, signal) {
                Some(died) => deaths += usize::from(died),
                None => break,
            }
        }
        assert!(deaths > 10, "{deaths}");
    }
}

// As the first process of a container.

/// The program as PID 1 of a PID namespace of its own. `None` if this user may not make one, or if
/// there is no unshare(1); that is said aloud, past the test harness, which would keep it to
/// itself.
fn as_pid_1(scratch: &Scratch, arguments: &[&str]) -> Option<Command> {
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["-p", "-f", "--mount-proc", "--kill-child"]);
        with_default_signals(&mut unshare);
        unshare.stdin(Stdio::null()).env_remove("NO_COLOR");
        unshare
    };
    let tried = unshare().arg("true").stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        not_tested("signals to PID 1", "it needs root and unshare(1)");
        return None;
    }
    let mut program = scratch.sigshm(["--timeout=60"]);
    program.args(arguments);
    let mut command = unshare();
    command.arg(program.get_program()).args(program.get_args());
    Some(without_core(command))
}

/// unshare(1) ends with the status of PID 1.
#[track_caller]
fn assert_ended_with(signal: Signal, finished: &Finished, scratch: &Scratch) {
    let status = 128 + signal as i32;
    assert_eq!(finished.code, Some(status), "{signal} {finished:#?}");
    scratch.assert_nothing_left();
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
        assert_ended_with(signal, &finished, &scratch);
    }
}

#[test]
fn a_run_that_is_pid_1_ends_with_status_143_on_sigterm_and_leaves_nothing() {
    // The segment is there, and the listener is blocked in the write of its last line.
    for (index, signal) in [(1, "USR1"), (2, "USR1"), (1, "TERM"), (1, "WINCH")] {
        let scratch = Scratch::new();
        let arguments = ["--signal", signal, "Hello, world"];
        let Some(command) = as_pid_1(&scratch, &arguments) else {
            return;
        };
        let (run, _reader) = block_in_write_of("\x1b[33m# Received", command);
        assert_eq!(scratch.segments().len(), 1);
        // unshare(1), PID 1, and its listener.
        let processes = descendants(run.pid());
        assert_eq!(processes.len(), 3, "{processes:?}");
        kill(processes[index], SIGTERM).unwrap();
        let finished = run.finish();
        assert_eq!(finished.stderr, "");
        assert_ended_with(SIGTERM, &finished, &scratch);
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
        started_by(&mut command, move || Ok(mask.thread_block()?));
        let run = Program::start(command);
        run.until_complained("sigshm: waiting: ");
        kill(children(run.pid())[0], SIGTERM).unwrap();
        assert_ended_with(SIGTERM, &run.finish(), &scratch);
    }
}

#[test]
fn a_pid_1_that_waits_to_print_its_help_ends_with_status_143_on_sigterm() {
    let scratch = Scratch::new();
    let Some(mut command) = as_pid_1(&scratch, &["--help"]) else {
        return;
    };
    let (_reader, writer) = full_pipe();
    let run = Program::start_into(writer, &mut command);
    wait_until("it is blocked", || {
        let first = children(run.pid());
        first.iter().any(|&pid| is_blocked_in_write(pid))
    });
    kill(children(run.pid())[0], SIGTERM).unwrap();
    assert_ended_with(SIGTERM, &run.finish(), &scratch);
}
