//! Runs whose cleaning up is refused: they end soon all the same, and say what they could not do.
//! And loops whose end depends on a file system, on another program or on a policy.

use crate::support::refusal::{Refusal, SYS_POLL, refuse};
use crate::support::tracer::{Point, Released, Side, freeze};
use crate::support::*;

/// The limit for such a run. It waits for its child for five seconds at most, and no `--timeout`
/// that is reached is longer than a second.
const SOON: Duration = Duration::from_secs(10);

const EPERM: i32 = libc::EPERM;
const KILL: Refusal = Refusal::of(libc::SYS_kill, EPERM);
/// As [`KILL`], but the notification is let through, so that there is somebody to wait for.
const SIGKILL: Refusal = KILL.when(1, u32::MAX, libc::SIGKILL as u32);
const SHMGET: Refusal = Refusal::of(libc::SYS_shmget, EPERM);
const SHMAT: Refusal = Refusal::of(libc::SYS_shmat, EPERM);
const SEND: Refusal = Refusal::of(libc::SYS_sendto, EPERM);
/// Some machines add a bit to the command.
const RMID: Refusal = Refusal::of(libc::SYS_shmctl, EPERM).when(1, 0xff, libc::IPC_RMID as u32);
/// What raise(3) is made of.
const RAISE: [Refusal; 2] =
    [Refusal::of(libc::SYS_tgkill, EPERM), Refusal::of(libc::SYS_tkill, EPERM)];
/// What waiting for a child is made of.
const WAIT: [Refusal; 4] = [
    Refusal::of(libc::SYS_wait4, EPERM),
    Refusal::of(libc::SYS_waitid, EPERM),
    Refusal::of(libc::SYS_nanosleep, EPERM),
    Refusal::of(libc::SYS_clock_nanosleep, EPERM),
];

const PLAIN: &[&str] = &["--color=always"];
const EXPLAINED: &[&str] = &["--explain"];
const SOCKET: &[&str] = &["--via=socket"];
/// Its standard input is at its end, so it does not stop at its steps.
const STEPS: &[&str] = &["--step"];

/// The listener has begun, and has told the kernel not to let it outlive its parent.
const NOT_READY: Point = Point::Call(Side::Child, libc::SYS_getppid);

fn hampered(scratch: &Scratch, arguments: &[&str], refusals: &[Refusal]) -> Command {
    let mut command = match arguments {
        SOCKET => scratch.via_socket([""; 0]),
        _ => scratch.sigshm(arguments),
    };
    command.arg("Hello, world");
    refuse(&mut command, refusals.iter().copied());
    command
}

/// The run, whose listener is stopped when the run comes to this point.
fn with_stopped_listener(command: &mut Command, point: Point) -> Released {
    let frozen = freeze(command, point).expect("it has a listener");
    let listener = frozen.listener().unwrap();
    kill(listener, SIGSTOP).unwrap();
    let released = frozen.release();
    wait_until("it is stopped", || state(listener) == Some('T'));
    released
}

/// The run has failed, and told in one more line what it could not do, and what that means.
#[track_caller]
fn assert_failed_and_left(listener: Pid, fate: &str, finished: &Finished) {
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    let lines = finished.stderr.lines();
    let (errors, rest): (Vec<_>, Vec<_>) = lines.partition(|it| it.starts_with("sigshm: error: "));
    assert_eq!((errors.len(), rest.len()), (1, 1), "{finished:#?}");
    for part in ["sigshm: ", "kill(", "EPERM", &listener.to_string(), fate] {
        assert!(rest[0].contains(part), "no {part:?} in {finished:#?}");
    }
}

// A run that gives up.

#[test]
fn a_run_that_may_not_kill_its_stopped_listener_gives_up_and_says_that_it_may_still_run() {
    for arguments in [PLAIN, EXPLAINED, SOCKET] {
        for more in [&[][..], &WAIT] {
            let scratch = Scratch::new();
            let mut command = hampered(&scratch, arguments, &[&[KILL], more].concat());
            command.arg("--timeout=.3");
            let released = with_stopped_listener(&mut command, NOT_READY);
            let listener = released.listener().unwrap();
            let finished = released.finish_unreaped(SOON);
            assert_failed_and_left(listener, "may still run", &finished);
        }
    }
}

#[test]
fn a_run_that_may_not_kill_a_listener_that_is_blocked_in_a_write_gives_up_all_the_same() {
    let scratch = Scratch::new();
    let mut command = hampered(&scratch, PLAIN, &[KILL]);
    // No room for the listener's first line, so that it is never ready, nor looks at its pipe.
    let room = transcript(9_999_999, 12, "").find(LISTENER).unwrap();
    let (run, _reader) = Program::start_with_room_for(room, command.arg("--timeout=1"));
    let mut listener = None;
    wait_until("there is a listener", || {
        listener = children(run.pid()).first().copied();
        listener.is_some()
    });
    let finished = run.finish_within(SOON).unwrap();
    assert_failed_and_left(listener.unwrap(), "may still run", &finished);
}

#[test]
fn a_run_that_may_not_kill_its_listener_closes_its_pipe_and_says_that_it_has_ended() {
    let asleep = &["--wait=sleep"][..];
    // Why it gives up: it may not notify, or it may not make what carries the message.
    let cases = [
        (PLAIN, KILL),
        (PLAIN, SHMGET),
        (asleep, SHMGET),
        (EXPLAINED, KILL),
        (EXPLAINED, SHMGET),
        (STEPS, KILL),
        (STEPS, SHMAT),
        (SOCKET, SEND),
    ];
    for (arguments, why) in cases {
        let scratch = Scratch::new();
        let run = Program::start(hampered(&scratch, arguments, &[KILL, why]));
        let finished = run.finish_within(SOON).unwrap();
        let listener = Pid::from_raw(listener_in(finished.text()));
        assert_failed_and_left(listener, "has ended", &finished);
    }
}

#[test]
fn a_run_that_may_neither_kill_nor_wait_ends_all_the_same() {
    for (arguments, why) in [(PLAIN, SHMGET), (EXPLAINED, KILL), (SOCKET, SEND)] {
        let scratch = Scratch::new();
        let refusals = [&[KILL, why][..], &WAIT].concat();
        let run = Program::start(hampered(&scratch, arguments, &refusals));
        let finished = run.finish_within(SOON).unwrap();
        assert_eq!(finished.code, Some(1), "{finished:#?}");
        assert!(finished.stderr.contains("kill("), "{finished:#?}");
    }
}

// A run that is ended by a signal.

/// A run that waits, and which signal is to end it.
struct Waiting {
    scratch: Scratch,
    run: Released,
    signal: Signal,
    may_raise: bool,
    says: &'static str,
}

impl Waiting {
    /// For a listener that is stopped at this point.
    fn start(point: Point, arguments: &[&str], refusals: &[Refusal], signal: Signal) -> Self {
        let scratch = Scratch::new().checked_if(!refusals.contains(&RMID));
        let mut command = hampered(&scratch, arguments, refusals);
        let run = with_stopped_listener(command.arg("--timeout=60"), point);
        // Its output is a file, and the listener is stopped: so it sleeps only to wait for that.
        wait_until("it waits", || state(run.parent()) == Some('S'));
        Self {
            scratch,
            run,
            signal,
            // Through sockets no signal is caught: the signal itself ends the run.
            may_raise: arguments == SOCKET || !refusals.ends_with(&RAISE),
            says: if arguments == SOCKET { "" } else { "kill" },
        }
    }

    #[track_caller]
    fn assert_ended_by_signal(self) {
        let finished = self.run.finish_unreaped(SOON);
        let number = self.signal as i32;
        let expected = match self.may_raise {
            true => (None, Some(number)),
            false => (Some(128 + number), None),
        };
        let ended = (finished.code, finished.signal);
        assert_eq!(ended, expected, "{} {finished:#?}", self.signal);
        assert!(finished.stderr.contains(self.says), "{finished:#?}");
        self.scratch.assert_nothing_left();
    }
}

#[test]
fn a_run_that_may_not_kill_its_stopped_listener_dies_of_an_ending_signal_all_the_same() {
    let signals = [SIGINT, SIGTERM, SIGHUP];
    let mut signals = signals.into_iter().cycle();
    let mut runs = Vec::new();
    for more in [&[][..], &RAISE, &WAIT, &[&WAIT[..], &RAISE].concat()] {
        for arguments in [PLAIN, EXPLAINED, STEPS, SOCKET] {
            let refusals = [&[KILL], more].concat();
            let signal = signals.next().unwrap();
            runs.push(Waiting::start(NOT_READY, arguments, &refusals, signal));
        }
        // The segment is there, and the listener is to be notified.
        let point = Point::Call(Side::Parent, libc::SYS_kill);
        let refusals = [&[SIGKILL], more].concat();
        runs.push(Waiting::start(point, PLAIN, &refusals, SIGTERM));
        let Waiting { scratch, .. } = runs.last().unwrap();
        assert_eq!(scratch.segments().len(), 1);
    }
    for run in &runs {
        kill(run.run.parent(), run.signal).unwrap();
    }
    runs.into_iter().for_each(Waiting::assert_ended_by_signal);
}

/// The run, which stops at its steps, before it notifies. Its listener waits.
fn before_it_notifies(scratch: &Scratch, refusals: &[Refusal]) -> Program {
    let command = hampered(scratch, STEPS, refusals);
    let run = Program::start_at(command, "the sender sends the signal");
    assert_eq!(scratch.segments().len(), 1);
    run
}

#[test]
fn a_run_that_may_not_kill_its_waiting_listener_dies_of_an_ending_signal_all_the_same() {
    let refusals = [vec![KILL], [&[KILL][..], &WAIT].concat(), [&[KILL][..], &RAISE].concat()];
    for refusals in refusals {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let scratch = Scratch::new();
            let run = before_it_notifies(&scratch, &refusals);
            let begun = Instant::now();
            kill(run.pid(), signal).unwrap();
            let finished = run.finish();
            assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
            let ended = finished.code.or(finished.signal.map(|it| 128 + it));
            assert_eq!(ended, Some(128 + signal as i32), "{finished:#?}");
            assert!(finished.stderr.contains("kill"), "{finished:#?}");
        }
    }
}

#[test]
fn a_run_whose_kill_has_no_effect_gives_up_and_dies_of_an_ending_signal_all_the_same() {
    // As if the child were in a frozen control group, or held by a debugger.
    let without_effect = Refusal::of(libc::SYS_kill, 0);
    let scratch = Scratch::new();
    let mut gives_up = hampered(&scratch, PLAIN, &[without_effect]);
    let gives_up = Program::start(gives_up.arg("--timeout=.3"));
    let elsewhere = Scratch::new();
    let dies = before_it_notifies(&elsewhere, &[without_effect]);
    let listener = children(dies.pid())[0];
    kill(listener, SIGSTOP).unwrap();
    kill(dies.pid(), SIGTERM).unwrap();
    let finished = gives_up.finish_within(SOON).unwrap();
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    let finished = [finished, dies.finish()];
    assert_eq!(finished[1].signal, Some(SIGTERM as i32));
    for (finished, scratch) in finished.iter().zip([scratch, elsewhere]) {
        let said =
            finished.stderr.contains("was killed, ") && finished.stderr.contains("not ended");
        assert!(said, "{finished:#?}");
        scratch.assert_nothing_left();
    }
}

#[test]
fn a_run_whose_kill_has_no_effect_on_a_stopped_listener_gives_up_all_the_same() {
    let scratch = Scratch::new();
    let mut command = hampered(&scratch, PLAIN, &[Refusal::of(libc::SYS_kill, 0)]);
    let released = with_stopped_listener(command.arg("--timeout=.3"), NOT_READY);
    let listener = released.listener().unwrap().to_string();
    let finished = released.finish_unreaped(SOON);
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    let left = finished.stderr.lines().last().unwrap();
    for part in ["was killed", "not ended", "has stopped", &listener] {
        assert!(left.contains(part), "no {part:?} in {finished:#?}");
    }
}

// Calls without which nothing can be waited for.

#[test]
fn a_wait_whose_timer_or_sleep_is_refused_is_an_error_and_no_panic() {
    let timer = Refusal::of(libc::SYS_setitimer, EPERM);
    let handler = Refusal::of(libc::SYS_rt_sigaction, EPERM).when(0, u32::MAX, 14);
    for (refusal, name) in [(timer, "setitimer("), (handler, "sigaction(SIGALRM")] {
        let scratch = Scratch::new();
        let _lock = take_lock(&scratch);
        let mut command = hampered(&scratch, PLAIN, &[refusal]);
        // The demo installs a handler for SIGALRM only when it has the lock.
        let finished = Program::start(command.arg("--timeout=1")).finish_within(SOON).unwrap();
        assert_eq!(finished.code, Some(1), "{finished:#?}");
        let error = finished.stderr.lines().last().unwrap();
        let is_named = error.contains(name) && error.contains("policy");
        assert!(is_named, "{finished:#?}");
    }
    let scratch = Scratch::new();
    let (listener, mut sender) = listener_and_sender(&scratch);
    listener.stop();
    refuse(&mut sender, WAIT[2..].iter().copied());
    let finished = Program::start(&mut sender).finish_within(SOON).unwrap();
    finished.assert_failed_with(&["nanosleep(", "EPERM", "policy"]);
}

#[test]
fn a_processor_time_or_a_parent_that_may_not_be_asked_for_costs_no_message() {
    for (arguments, call) in
        [(EXPLAINED, libc::SYS_getrusage), (PLAIN, libc::SYS_getppid), (SOCKET, libc::SYS_getppid)]
    {
        let scratch = Scratch::new();
        let refusal = Refusal::of(call, EPERM);
        let finished = run(hampered(&scratch, arguments, &[refusal]));
        assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
        assert!(finished.text().contains("# Received: Hello, world"));
    }
}

// A segment that may not be removed.

/// Standard error names the segment that is left, and how to remove it.
#[track_caller]
fn assert_names_the_segment(scratch: &Scratch, finished: &Finished) {
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    let [segment] = &scratch.segments()[..] else { panic!("nothing was left") };
    for part in ["EPERM", &format!("ipcrm -m {}", segment.id)] {
        assert!(finished.stderr.contains(part), "no {part:?}: {finished:#?}");
    }
}

#[test]
fn a_run_that_may_not_remove_its_segment_names_it_and_how_to_remove_it() {
    let notify = KILL.when(1, u32::MAX, libc::SIGUSR1 as u32);
    // Nothing else is refused, or the run fails before, for another reason.
    for more in [&[][..], &[SHMAT], &[notify], &[KILL]] {
        for arguments in [PLAIN, EXPLAINED, STEPS] {
            let scratch = Scratch::unchecked();
            let mut command = hampered(&scratch, arguments, &[&[RMID], more].concat());
            let finished = Program::start(&mut command).finish_within(SOON).unwrap();
            assert_names_the_segment(&scratch, &finished);
        }
    }
}

#[test]
fn a_segment_that_is_said_to_have_been_removed_and_is_there_is_named() {
    for errno in [Errno::EINVAL, Errno::EIDRM] {
        let refusal = Refusal::of(libc::SYS_shmctl, errno as i32);
        let refusal = refusal.when(1, 0xff, libc::IPC_RMID as u32);
        for more in [&[][..], &[SHMAT]] {
            let scratch = Scratch::unchecked();
            let finished = run(hampered(&scratch, PLAIN, &[&[refusal], more].concat()));
            assert_eq!(finished.code, Some(1), "{finished:#?}");
            let remove =
                format!("({errno:?}); segment {0} is left: ipcrm -m {0}", scratch.segments()[0].id);
            assert!(finished.stderr.contains(&remove), "{finished:#?}");
        }
    }
}

/// A listener of its own, and the command that sends to it.
fn listener_and_sender(scratch: &Scratch) -> (Program, Command) {
    let listener = Program::start(scratch.sigshm(["--listen"]));
    listener.until_printed("# Registering");
    let to = listener.pid().to_string();
    let sender = scratch.sigshm(["--to", &to, "Hello, world"]);
    (listener, sender)
}

#[test]
fn a_separate_sender_that_may_not_remove_its_segment_names_it_and_how_to_remove_it() {
    for more in [&[][..], &[SHMAT]] {
        let scratch = Scratch::unchecked();
        let (_listener, mut sender) = listener_and_sender(&scratch);
        refuse(&mut sender, [&[RMID], more].concat());
        let finished = Program::start(&mut sender).finish_within(SOON).unwrap();
        assert_names_the_segment(&scratch, &finished);
    }
}

#[test]
fn a_sender_that_dies_of_a_signal_and_may_not_remove_its_segment_says_that_it_is_left() {
    // Each waits for a listener that is stopped.
    let point = Point::Call(Side::Parent, libc::SYS_kill);
    let mut demo = Waiting::start(point, PLAIN, &[RMID], SIGTERM);
    demo.says = "segment";
    kill(demo.run.parent(), demo.signal).unwrap();
    let Waiting { scratch, run, .. } = demo;
    let by_demo = (scratch, run.finish_unreaped(SOON));

    let scratch = Scratch::unchecked();
    let (listener, mut sender) = listener_and_sender(&scratch);
    listener.stop();
    refuse(&mut sender, [RMID]);
    let sender = Program::start(sender.arg("--timeout=60"));
    wait_until("it has notified", || is_pending(listener.pid()));
    kill(sender.pid(), SIGTERM).unwrap();
    let by_sender = (scratch, sender.finish_within(SOON).unwrap());

    for (scratch, finished) in [by_demo, by_sender] {
        assert_eq!(finished.signal, Some(libc::SIGTERM), "{finished:#?}");
        assert!(finished.stderr.contains("segment"), "{finished:#?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:#?}");
        assert_eq!(scratch.segments().len(), 1);
    }
}

#[test]
fn a_run_that_fails_or_dies_does_not_speak_of_a_segment_that_somebody_else_has_removed() {
    for signal in [None, Some(SIGTERM)] {
        let scratch = Scratch::new();
        let mut command = hampered(&scratch, PLAIN, &[]);
        // While it was attached, it could be removed twice.
        let frozen = freeze(&mut command, Point::Call(Side::Parent, libc::SYS_shmat));
        let frozen = frozen.expect("it has a segment");
        remove_segment(scratch.segments()[0].id);
        if let Some(signal) = signal {
            kill(frozen.parent(), signal).unwrap();
        }
        let finished = frozen.release().finish(TIMEOUT);
        assert_eq!(finished.signal, signal.map(|it| it as i32));
        match signal {
            None => finished.assert_failed_with(&["shmat(", "somebody else has removed"]),
            Some(_) => assert_eq!(finished.stderr, ""),
        }
    }
}

#[test]
fn a_sender_that_dies_of_a_signal_does_not_wait_for_a_reader_of_standard_error() {
    let scratch = Scratch::unchecked();
    let (listener, mut sender) = listener_and_sender(&scratch);
    listener.stop();
    refuse(&mut sender, [RMID]);
    let (_reader, writer) = full_pipe();
    sender.arg("--timeout=60").stdout(Stdio::null());
    let mut sender = sender.stderr(writer).spawn().unwrap();
    wait_until("it has notified", || is_pending(listener.pid()));
    kill(Pid::from_raw(sender.id() as i32), SIGTERM).unwrap();
    let mut ended = None;
    wait_until("it ends", || {
        ended = sender.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().signal(), Some(libc::SIGTERM));
}

// Loops whose end depends on somebody else.

#[test]
fn a_file_that_is_another_one_at_each_look_is_an_error_that_says_so() {
    for option in ["--color=auto", "--step"] {
        let scratch = Scratch::new();
        let (listener, mut sender) = listener_and_sender(&scratch);
        let mut demo = scratch.sigshm(["Hello, world"]);
        for command in [&mut demo, &mut sender] {
            preload(command.arg(option), "CHANGING_INODES");
            let finished = Program::start(command).finish_within(SOON).unwrap();
            finished.assert_failed_with(&["inode", "another file at each look"]);
        }
        assert!(listener.is_alive(), "it was told of nothing");
    }
}

#[test]
fn a_listener_makes_nothing_of_inode_numbers_that_change() {
    // It takes no lock, and ftok(3) looks at the file by itself.
    let scratch = Scratch::new();
    let mut command = scratch.sigshm(["--listen"]);
    preload(&mut command, "CHANGING_INODES");
    let listener = Program::start(command);
    listener.until_printed("# Registering");
    let to = listener.pid().to_string();
    let sent = run(scratch.sigshm(["--to", &to, "Hello, world"]));
    assert_eq!(sent.text(), self::sent(12, "Hello, world"), "{sent:#?}");
    listener.finish_well();
}

/// A run that ends by itself or by its timeout, whatever it is told.
#[track_caller]
fn assert_ends(command: &mut Command) {
    let finished = Program::start(command).finish_within(SOON).unwrap();
    match finished.code {
        Some(0) => finished.assert_delivered(12, "Hello, world"),
        _ => finished.assert_failed_with(&["sigshm: error: "]),
    }
}

#[test]
fn a_segment_that_is_there_and_is_not_there_again_and_again_ends_a_run_at_its_timeout() {
    let exclusive = libc::IPC_EXCL as u32;
    let exists = Refusal::of(libc::SYS_shmget, libc::EEXIST).when(2, exclusive, exclusive);
    let status = |errno| Refusal::of(libc::SYS_shmctl, errno).when(1, 0xff, libc::IPC_STAT as u32);
    // Always gone when one looks (first with nothing there at all), or there again when it has
    // been removed.
    let cases = [
        (false, exists),
        (true, status(libc::EIDRM)),
        (true, status(libc::EINVAL)),
        (true, Refusal::of(libc::SYS_shmctl, 0).when(1, 0xff, libc::IPC_RMID as u32)),
    ];
    for (is_there, refusal) in cases {
        // With --step it takes five seconds, so once is enough.
        let options = ["--timeout=.3", "--step"];
        for option in &options[..1 + usize::from(!is_there)] {
            let scratch = Scratch::unchecked();
            if is_there {
                leave_behind(&scratch);
            }
            let mut command = scratch.sigshm([option, "Hello, world"]);
            refuse(&mut command, [refusal]);
            let finished = Program::start(&mut command).finish_within(SOON);
            let finished = finished.unwrap_or_else(|why| panic!("{option} {is_there}: {why}"));
            finished
                .assert_failed_with(&["sigshm: error: others keep creating and removing segments"]);
        }
    }
}

/// Somebody who makes a segment at the key and removes it, without end, until this is dropped.
struct Flicker(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Flicker {
    fn at(key: i32) -> Self {
        let enough = Arc::new(AtomicBool::new(false));
        let is_enough = Arc::clone(&enough);
        let flicker = move || {
            while !is_enough.load(Ordering::Relaxed) {
                let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
                // SAFETY: it takes three numbers and touches no memory.
                let id = unsafe { libc::shmget(key, 1024, flags) };
                if id >= 0 {
                    remove_segment(id);
                }
            }
        };
        Self(enough, Some(thread::spawn(flicker)))
    }
}

impl Drop for Flicker {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let _ = self.1.take().unwrap().join();
    }
}

#[test]
fn runs_whose_key_somebody_else_uses_again_and_again_deliver_or_fail_in_time() {
    let scratch = Scratch::new();
    let _flicker = Flicker::at(scratch.key());
    for _ in 0..5 {
        assert_ends(&mut scratch.sigshm(["--timeout=1", "Hello, world"]));
        let steps = scratch.sigshm(["--step", "--color=never", "Hello, world"]);
        let finished = Program::start_with_enters(steps).finish();
        assert!(matches!(finished.code, Some(0 | 1)), "{finished:#?}");
        assert_eq!(finished.code == Some(1), finished.stderr.contains("sigshm: error: "));
    }
}

#[test]
fn a_file_that_may_not_be_looked_at_once_it_is_open_ends_a_run() {
    // Looked up by its path. (With an empty path, statx(2) looks at an open file.)
    let looks = [
        Refusal::of(libc::SYS_statx, libc::EACCES).when(2, u32::MAX, 0),
        Refusal::of(libc::SYS_newfstatat, libc::EACCES).when(3, u32::MAX, 0),
    ];
    for option in ["--color=auto", "--step"] {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["--timeout=60", option, "Hello, world"]);
        refuse(&mut command, looks);
        let finished = Program::start(&mut command).finish_within(SOON).unwrap();
        finished.assert_failed_with(&["EACCES"]);
    }
}

#[test]
fn a_standard_output_that_takes_nothing_is_an_error() {
    let scratch = Scratch::new();
    let mut command = scratch.sigshm(["Hello, world"]);
    // "0 bytes are written", and no error.
    refuse(&mut command, [Refusal::of(libc::SYS_write, 0).when(0, u32::MAX, 1)]);
    let finished = Program::start(&mut command).finish_within(SOON).unwrap();
    finished.assert_failed_with(&["write(1, "]);
}

#[test]
fn a_full_standard_output_that_does_not_block_and_may_not_be_waited_for_is_an_error() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let scratch = Scratch::new();
        let (_reader, writer) = full_pipe();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut command = scratch.sigshm(["Hello, world"]);
        // Of one descriptor: the standard library looks at its three first.
        refuse(&mut command, [Refusal::of(SYS_POLL, errno).when(1, u32::MAX, 1)]);
        let run = Program::start_into(writer, &mut command);
        run.finish_within(SOON).unwrap().assert_failed_with(&["sigshm: error: "]);
    }
}
