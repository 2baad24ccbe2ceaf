//! How the listener waits: it spins, and keeps a processor busy, or it sleeps. Both receive the
//! same.

use std::sync::RwLock;

use crate::support::strace::Strace;
use crate::support::told::{events, told_calls};
use crate::support::tracer::*;
use crate::support::*;

/// What measures processor time does not run beside what takes all that there is.
static PROCESSORS: RwLock<()> = RwLock::new(());

#[test]
fn a_listener_that_sleeps_uses_almost_no_processor_time_and_one_that_spins_a_little() {
    let _shared = PROCESSORS.read();
    let scratch = Scratch::new();
    let used = |options: &[&str]| {
        let run = Program::start(scratch.sigshm(["--listen"]).args(options));
        // What it takes to start is not meant: on a slow machine that is more than the spinning.
        run.until_printed("# Registering");
        let started = processor_time(run.pid());
        thread::sleep(Duration::from_millis(1500));
        let used = processor_time(run.pid()) - started;
        kill(run.pid(), SIGTERM).unwrap();
        assert_eq!(run.finish().signal, Some(libc::SIGTERM));
        used
    };
    // Where it has a processor for itself, it is 100 ms beside 3. Where others are busy, it may get
    // little of a processor for a while: then it is tried again.
    let spins_more = (0..5).any(|_| {
        // All at once: those that sleep do not need a processor.
        let mut times = at_once([&[][..], &["--wait=sleep"], &["--wait=spin"]], used);
        let spins = times.pop().unwrap();
        assert!(spins < Duration::from_millis(250), "{spins:?}");
        for sleeps in &times {
            assert!(*sleeps < Duration::from_millis(20), "{sleeps:?}");
        }
        times.iter().all(|&sleeps| spins > 3 * sleeps)
    });
    assert!(spins_more, "than those that sleep");
}

#[test]
fn a_timeout_that_is_shorter_ends_the_spinning_too() {
    let scratch = Scratch::new();
    // On a busy machine it may last as long as that for another reason, but not each time.
    wait_until("it spins for much less than the 100 ms for which it would", || {
        let options = ["--explain", "--color=never", "--listen", "--wait=spin", "--timeout=0.01"];
        let finished = run(scratch.sigshm(options));
        assert_eq!(finished.code, Some(1), "no message came");
        waits(finished.text())[0].1 < 60_000
    });
}

/// Whether a processor has nothing else to do: for a moment, as much time is idle as one of them
/// has.
fn a_processor_is_idle() -> bool {
    // Of all processors together, in clock ticks; see proc_stat(5).
    let idle_and_all = || {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let numbers = stat.lines().next().unwrap().split_whitespace().skip(1);
        let numbers: Vec<u64> = numbers.take(8).map(|number| number.parse().unwrap()).collect();
        (numbers[3], numbers.iter().sum::<u64>())
    };
    let before = idle_and_all();
    thread::sleep(Duration::from_millis(200));
    let after = idle_and_all();
    let processors = thread::available_parallelism().unwrap().get() as u64;
    processors > 1 && (after.0 - before.0) * processors >= after.1 - before.1
}

#[test]
fn where_a_processor_is_idle_the_demo_receives_without_a_sleep() {
    needs!(Strace::find().is_some());
    let _shared = PROCESSORS.read();
    let scratch = Scratch::new();
    let program = scratch.sigshm(["Hello, world"]);
    let was_idle = a_processor_is_idle();
    let mut without_sleep = 0;
    for _ in 0..10 {
        let log = scratch.dir().join("log");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=pselect6", "-o"]).arg(&log);
        with_default_signals(strace.args(whole(&program)).stdin(Stdio::null()));
        let output = strace.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        without_sleep += usize::from(!fs::read_to_string(log).unwrap().contains("pselect6("));
    }
    if !was_idle || !a_processor_is_idle() {
        return not_tested("whether the demo receives without a sleep", "no processor is idle");
    }
    assert!(without_sleep >= 8, "{without_sleep} of 10");
}

/// How to wait, as options.
const WAYS: [&[&str]; 3] = [&[], &["--wait", "spin"], &["--wait", "sleep"]];

#[test]
fn both_receive_the_same() {
    let _shared = PROCESSORS.read();
    for way in WAYS {
        let scratch = Scratch::new();
        run(scratch.sigshm(way).arg("Hello, world")).assert_hello();

        let listener = scratch.listen(way);
        let pid = listener.pid();
        // Nobody waits until it has spun for long enough: whatever it is just doing, it receives.
        Program::start(scratch.sender(pid, &[], "Hello, world")).finish_well();
        assert_eq!(listener.finish_well(), received(pid, "Hello, world"));
    }
}

#[test]
fn sixty_runs_at_once_all_deliver_on_all_processors_and_on_one() {
    let _alone = PROCESSORS.write();
    let processor = processors()[0];
    for pinned in [false, true] {
        for way in WAYS {
            let scratches: Vec<_> = iter::repeat_with(Scratch::new).take(60).collect();
            let start = |scratch: &Scratch| {
                let mut command = scratch.sigshm(way);
                command.arg("--timeout=60"); // for a slow machine
                if pinned {
                    command.in_child(move || run_on(processor));
                }
                Program::start(command.arg("hi"))
            };
            let runs: Vec<_> = scratches.iter().map(start).collect();
            runs.into_iter().for_each(|run| run.finish().assert_delivered(2, "hi"));
        }
    }
}

/// What is told of a wait, in microseconds: how many rounds (none if it slept), for how long, and
/// the processor time that this took.
fn waits(text: &str) -> Vec<(Option<u64>, u64, u64)> {
    let lines = text.lines().filter_map(|line| {
        let words = line.trim().strip_prefix("listener")?.trim();
        let words = words.strip_prefix('(')?.strip_suffix(" us)")?;
        let (wait, burned) = words.split_once(" us; processor time: ")?;
        let (how, time) = wait.split_once(" for ")?;
        let rounds = match how.split(' ').collect::<Vec<_>>()[..] {
            ["spun", rounds, "rounds"] => Some(rounds.parse().unwrap()),
            ["slept"] => None,
            _ => panic!("{line:?}"),
        };
        Some((rounds, time.parse().unwrap(), burned.parse().unwrap()))
    });
    lines.collect()
}

#[test]
fn an_explained_run_says_how_the_listener_waited_how_long_and_what_that_cost() {
    needs!(can_trace());
    let _shared = PROCESSORS.read();
    for way in ["spin", "sleep"] {
        let scratch = Scratch::new();
        let options = ["--explain", "--color=never", "--wait", way, "Hello, world"];
        // The sender is stopped until the listener has spun long enough, and sleeps.
        let released = start_and_stop_parent(&mut scratch.sigshm(options));
        released.until_listener_sleeps();
        kill(released.parent(), SIGCONT).unwrap();
        let finished = released.finish(TIMEOUT);
        let (code, stderr, text) = finished.outcome();
        assert_eq!((code, stderr), (Some(0), ""), "{text}");

        let mut spins: Vec<_> = events(text).into_iter().map(|row| row.2).collect();
        spins.retain(|event| event.starts_with("spins "));
        let unblocks =
            told_calls(text).iter().any(|call| call.words.contains("SIG_UNBLOCK, [USR1]"));
        match (way, &waits(text)[..]) {
            ("spin", [(Some(rounds), spun, burned), (None, _, slept)]) => {
                assert!(*rounds > 1000, "{text}");
                // Most of the 100 ms, which begin before the signal is let in; and what it had of the
                // processor is no longer.
                assert!(*spun >= 90_000 && burned <= &(spun + 1000), "{text}");
                // Asleep it uses what it takes to fall asleep and to wake.
                assert!(slept * 3 < *burned, "{text}");
                assert_eq!(spins, [format!("spins {rounds} rounds")], "{text}");
                assert!(unblocks, "{text}");
            }
            ("sleep", [(None, _, slept)]) => {
                // Less than it would spin, even where each call is slow.
                assert!(*slept < 90_000, "{text}");
                assert!(spins.is_empty() && !unblocks, "{text}");
            }
            (_, waits) => panic!("{way}: {waits:?} in {text}"),
        }
    }
}

#[test]
fn a_signal_that_comes_while_the_listener_spins_does_not_hide_what_that_cost() {
    needs!(can_trace());
    let _shared = PROCESSORS.read();
    for _ in 0..10 {
        let scratch = Scratch::new();
        let options = ["--explain", "--color=never", "Hello, world"];
        // The sender is about to send the signal. Meanwhile the listener is let go, and spins.
        let point = Point::Call(Side::Parent, libc::SYS_kill);
        let frozen = freeze(&mut scratch.sigshm(options), point).expect("it has not ended");
        let finished = frozen.release().finish(TIMEOUT);
        let (code, stderr, text) = finished.outcome();
        assert_eq!((code, stderr), (Some(0), ""), "{text}");
        let (rounds, spun, used) = waits(text)[0];
        // A round takes more than 10 nanoseconds: it reads a clock.
        assert!(used * 100 >= rounds.unwrap(), "{text}");
        assert!(used <= spun + 1000, "{text}");
    }
}

#[test]
fn a_listener_alone_says_it_too() {
    let _shared = PROCESSORS.read();
    let scratch = Scratch::new();
    for (way, lines) in [(WAYS[0], 1), (WAYS[1], 2)] {
        let listener = scratch.listen(&[way, &["--explain", "--color=never"]].concat());
        let pid = listener.pid();
        wait_until("it sleeps", || is_blocked_in(pid, libc::SYS_pselect6));
        Program::start(scratch.sender(pid, &[], "Hello, world")).finish_well();
        let finished = listener.finish();
        let waits = waits(finished.text());
        assert_eq!(waits.len(), lines, "{finished:#?}");
        assert_eq!(waits[lines - 1].0, None);
    }
}

#[test]
fn a_way_to_wait_that_there_is_not_is_bad_usage_and_so_is_one_for_a_sender_alone() {
    let scratch = Scratch::new();
    for (arguments, said) in [
        (&["--wait=busily", "hi"][..], ["spin", "sleep"]),
        (&["--wait=", "hi"], ["spin", "sleep"]),
        (&["--wait=spin", "--to=1", "hi"], ["--wait", "--to"]),
    ] {
        let finished = run(scratch.sigshm(arguments).arg("--color=never"));
        let says_all = said.iter().all(|word| finished.stderr.contains(word));
        assert_eq!((finished.code, says_all), (Some(2), true), "{finished:#?}");
    }
}
