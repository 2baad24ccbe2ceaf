//! Ctrl-C, Ctrl-\, SIGTERM and SIGHUP at every step of a run: everything is cleared away, and whoever waits for the run
//! sees it die of that signal. Ctrl-Z at any step harms nothing.
#![cfg(target_os = "linux")]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill, killpg};

use support::tracer::{Frozen, Moment, Released, Side, freeze};
use support::*;

const INTERRUPTIONS: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// The signal for a step. They take turns, and each meets entries as well as exits of system calls.
fn signal_for(step: usize) -> Signal {
    INTERRUPTIONS[(step + step / 4) % 4]
}

/// The run, which leaves no core file when SIGQUIT ends it.
fn sigshm_without_core(scratch: &Scratch) -> Command {
    let mut command = scratch.sigshm(["Hello, world"]);
    // SAFETY: between fork and exec this makes one system call and allocates nothing.
    unsafe { command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?)) };
    command
}

/// Interrupts at every step. `send` sends the signal, unless nobody is there to get it; `too_late` says whether the run
/// may have looked for signals for the last time.
fn interrupt_at_every_step(
    moment: impl Fn(usize) -> Moment,
    send: impl Fn(&Frozen, Signal) -> bool,
    too_late: impl Fn(&Frozen) -> bool,
) -> usize {
    let mut deaths = 0;
    for step in 0.. {
        let scratch = Scratch::new();
        let signal = signal_for(step);
        let frozen = match freeze(&mut sigshm_without_core(&scratch), moment(step)) {
            Ok(frozen) => frozen,
            Err(finished) => {
                finished.assert_delivered(12, "Hello, world");
                break;
            }
        };
        let may_complete = !send(&frozen, signal) || too_late(&frozen);
        let finished = frozen.release().finish(PATIENCE);
        let context = format!(
            "step {step} with {signal}: code {:?}, signal {:?}, {:?}\n{}",
            finished.code,
            finished.signal,
            finished.stderr,
            finished.text()
        );
        assert_eq!(finished.stderr, "", "{context}");
        if finished.signal.is_some() {
            assert_eq!(finished.signal, Some(signal as i32), "{context}");
            deaths += 1;
        } else {
            assert!(may_complete, "the signal was overlooked at {context}");
            finished.assert_delivered(12, "Hello, world");
        }
        scratch.assert_nothing_left();
    }
    deaths
}

fn send_to_parent(frozen: &Frozen, signal: Signal) -> bool {
    kill(frozen.parent(), signal).unwrap();
    true
}

fn send_to_listener(frozen: &Frozen, signal: Signal) -> bool {
    frozen
        .living_listener()
        .map(|listener| kill(listener, signal).unwrap())
        .is_some()
}

fn send_to_group(frozen: &Frozen, signal: Signal) -> bool {
    killpg(frozen.parent(), signal).unwrap();
    true
}

/// The parent's last look at signals comes after the listener's end.
fn the_listener_is_reaped(frozen: &Frozen) -> bool {
    frozen.listener_is_reaped()
}

/// The listener's last look at signals comes between its last two lines.
fn the_listener_has_read_the_message(frozen: &Frozen) -> bool {
    frozen.printed().contains("received signal")
}

#[test]
fn a_parent_interrupted_at_any_step_dies_of_the_signal() {
    let deaths = interrupt_at_every_step(
        |step| Moment::Step(Side::Parent, step),
        send_to_parent,
        the_listener_is_reaped,
    );
    assert!(deaths > 50, "{deaths}");
}

#[test]
fn a_parent_interrupted_at_any_step_of_the_listener_dies_of_the_signal() {
    let deaths = interrupt_at_every_step(
        |step| Moment::Step(Side::Child, step),
        send_to_parent,
        the_listener_is_reaped,
    );
    assert!(deaths > 30, "{deaths}");
}

#[test]
fn when_the_listener_is_interrupted_at_any_step_the_parent_dies_of_the_signal() {
    let deaths = interrupt_at_every_step(
        |step| Moment::Step(Side::Child, step),
        send_to_listener,
        the_listener_has_read_the_message,
    );
    assert!(deaths > 30, "{deaths}");
}

#[test]
fn when_the_listener_is_interrupted_at_any_step_of_the_parent_the_parent_dies_of_the_signal() {
    let deaths = interrupt_at_every_step(
        |step| Moment::Step(Side::Parent, step),
        send_to_listener,
        the_listener_has_read_the_message,
    );
    assert!(deaths > 30, "{deaths}");
}

#[test]
fn a_group_interrupted_at_any_step_of_the_parent_dies_of_the_signal() {
    let deaths = interrupt_at_every_step(
        |step| Moment::Step(Side::Parent, step),
        send_to_group,
        the_listener_is_reaped,
    );
    assert!(deaths > 50, "{deaths}");
}

#[test]
fn a_group_interrupted_at_any_step_of_the_listener_dies_of_the_signal() {
    let deaths = interrupt_at_every_step(
        |step| Moment::Step(Side::Child, step),
        send_to_group,
        the_listener_is_reaped,
    );
    assert!(deaths > 30, "{deaths}");
}

#[test]
fn a_run_interrupted_while_it_starts_dies_of_the_signal() {
    // Every third step: most of them belong to the dynamic linker. Where these moments end, those counted from the
    // run's turn on have begun, so that it does not matter that most of the later ones are met again.
    let deaths = interrupt_at_every_step(
        |step| Moment::Early(3 * step),
        send_to_group,
        the_listener_is_reaped,
    );
    assert!(deaths > 50, "{deaths}");
}

#[test]
fn a_run_interrupted_while_it_waits_for_its_turn_dies_of_the_signal() {
    for signal in INTERRUPTIONS {
        let scratch = Scratch::new();
        let file = File::open(scratch.path()).unwrap();
        let _turn = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        let mut running = start(sigshm_without_core(&scratch).arg("--timeout=60"));
        let mut stderr = BufReader::new(running.child().stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("waiting for another run"), "{line:?}");

        kill(running.pid(), signal).unwrap();
        let finished = running.finish();
        assert_eq!(finished.signal, Some(signal as i32), "{finished:#?}");
        assert_eq!(finished.text(), "");
        scratch.assert_nothing_left();
    }
}

/// A group that was stopped by Ctrl-Z at each of the moments, for longer than its `--timeout` of a second.
///
/// All of them sleep at the same time.
fn suspend_at(moments: impl Iterator<Item = Moment>) {
    let mut suspended: Vec<(Scratch, Released)> = Vec::new();
    for moment in moments {
        let scratch = Scratch::new();
        let mut command = scratch.sigshm(["--timeout=1", "Hello, world"]);
        let Ok(frozen) = freeze(&mut command, moment) else {
            break;
        };
        let listener = frozen.living_listener();
        killpg(frozen.parent(), Signal::SIGTSTP).unwrap();
        let released = frozen.release();
        for pid in listener.into_iter().chain([released.parent()]) {
            wait_until("the process is stopped or has ended", || {
                matches!(state(pid), None | Some('T' | 'Z'))
            });
        }
        suspended.push((scratch, released));
    }
    assert!(suspended.len() >= 10, "{}", suspended.len());

    // Not to wait for anything, but because it is the length of the stop that matters.
    thread::sleep(Duration::from_millis(1200));
    for (scratch, released) in suspended {
        let _ = killpg(released.parent(), Signal::SIGCONT);
        let finished = released.finish(PATIENCE);
        finished.assert_delivered(12, "Hello, world");
        assert_eq!(finished.stderr, "");
        scratch.assert_nothing_left();
    }
}

#[test]
fn a_group_suspended_for_longer_than_the_timeout_at_any_step_of_the_parent_delivers_when_continued()
{
    suspend_at((0..).map(|step| Moment::Step(Side::Parent, step)));
}

#[test]
fn a_group_suspended_for_longer_than_the_timeout_at_any_step_of_the_listener_delivers_when_continued()
 {
    suspend_at((0..).map(|step| Moment::Step(Side::Child, step)));
}

#[test]
fn a_run_suspended_for_longer_than_the_timeout_while_it_waits_for_its_turn_delivers_when_continued()
{
    let scratch = Scratch::new();
    let file = File::open(scratch.path()).unwrap();
    let turn = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    let mut command = scratch.sigshm(["--timeout=1", "Hello, world"]);
    // A group of its own, with a parent outside it, as a shell's job is: an orphaned group, as the
    // test's may be, takes no notice of Ctrl-Z.
    let mut running = start(command.process_group(0));
    let mut stderr = BufReader::new(running.child().stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for another run"), "{line:?}");

    let pid = running.pid();
    kill(pid, Signal::SIGTSTP).unwrap();
    wait_until("the run is stopped", || state(pid) == Some('T'));
    // Not to wait for anything, but because it is the length of the stop that matters.
    thread::sleep(Duration::from_millis(1200));
    drop(turn);
    kill(pid, Signal::SIGCONT).unwrap();
    running.finish().assert_delivered(12, "Hello, world");
    scratch.assert_nothing_left();
}
