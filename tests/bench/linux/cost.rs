//! What the story costs.
//!
//! 1. Time and memory, beside a C program of the same behaviour (`tests/peers/careful.c`). Both are
//!    run in turns, so that whatever else the machine does meets both alike. So are `sigshm
//!    --version` and a C program that does no more: what a run takes beyond these is the story
//!    alone.
//! 2. The timeline of `--explain`, which should not be much longer than what a plain run takes on a
//!    terminal. Both are run in turns.
//! 3. System calls, of both programs, beyond those of a program that only starts and ends.
//! 4. Many runs that wait for one lock: how fast they follow each other, in which order, and what
//!    the waiting costs.
//!
//! `cargo bench --bench cost` prints the figures and the goals. It judges nothing: it fails only if
//! a run fails. Without `--bench` (as `cargo test --all-targets` starts it) it makes a few runs, to
//! show that it works.

#[allow(dead_code, unused_imports)] // The tests use the rest.
#[path = "../../support/mod.rs"]
mod support;

use nix::pty::openpty;

use support::told::events;
use support::tracer::{Point, Side, freeze};
use support::*;

pub fn main() {
    end_after(600);
    let whole = std::env::args().any(|argument| argument == "--bench");
    let scratch = Scratch::new();
    let programs = Programs::new(&scratch);
    // What is compared does the same.
    for command in programs.commands().into_iter().take(2) {
        run(command).assert_delivered(HELLO.len(), HELLO);
    }
    let (warm_up, pairs, memory_runs) = if whole { (20, 400, 15) } else { (1, 2, 1) };
    time_and_memory(&programs, warm_up, pairs, memory_runs);
    explained_timeline(&programs, warm_up, pairs / 2);
    system_calls(&programs, if whole { 9 } else { 1 });

    println!("runs that wait for one lock, started one after the other");
    for waiters in if whole { [10, 200] } else { [2, 3] } {
        queue(waiters, Duration::from_secs(whole.into()));
    }
}

/// The two programs that are compared, and two that only start and end.
struct Programs<'a> {
    scratch: &'a Scratch,
    careful: PathBuf,
    /// A C program that prints a line and ends.
    hello: PathBuf,
}

impl<'a> Programs<'a> {
    fn new(scratch: &'a Scratch) -> Self {
        let hello = scratch.dir().join("hello");
        let source = hello.with_extension("c");
        fs::write(&source, "#include <stdio.h>\nint main(void) { puts(\"hello 1\"); }\n").unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-O2", "-o"]).arg(&hello).arg(&source);
        assert!(cc.status().unwrap().success(), "{cc:?}");
        Self { scratch, careful: compile_peer("careful"), hello }
    }

    /// sigshm, careful.c, `sigshm --version`, and a C program that does no more.
    ///
    /// All are started in the same way, and without anything to do between fork and exec: then the
    /// standard library starts a program in a faster way, and there is less beside what is
    /// measured.
    fn commands(&self) -> [Command; 4] {
        let sigshm = || Command::new(env!("CARGO_BIN_EXE_sigshm"));
        let mut commands =
            [sigshm(), Command::new(&self.careful), sigshm(), Command::new(&self.hello)];
        let path = self.scratch.path();
        commands[0].arg("--path").arg(&path).arg(HELLO);
        commands[1].arg(HELLO).arg(&path);
        commands[2].arg("--version");
        for command in &mut commands {
            command.env_remove("NO_COLOR").stdin(Stdio::null());
        }
        commands
    }
}

fn time_and_memory(programs: &Programs, warm_up: usize, pairs: usize, memory_runs: usize) {
    let [rust_time, c_time, version, hello] = medians(warm_up, pairs, || {
        programs.commands().map(|mut command| time(command.stdout(Stdio::null())))
    });
    let [rust_memory, c_memory] = medians(0, memory_runs, || {
        [0, 1].map(|which| {
            // Of whichever of its two processes needs more.
            let peak = |side| peak_memory(&mut programs.commands()[which], side);
            f64::max(peak(Side::Parent), peak(Side::Child))
        })
    });
    let profile = if cfg!(debug_assertions) {
        "a debug build, which says nothing about the goals"
    } else {
        "a release build"
    };
    println!("sigshm ({profile}) beside careful.c (cc -O2), medians of {pairs} runs of each");
    println!("  whole run:      sigshm {rust_time:.0} µs, C {c_time:.0} µs");
    println!("                  ratio {:.2} (goal: at most 1.15)", rust_time / c_time);
    println!(
        "                  (of that sigshm --version {version:.0} µs, a C hello {hello:.0} µs)"
    );
    println!("  story alone:    sigshm {:.0} µs, C {:.0} µs", rust_time - version, c_time - hello);
    println!("  peak memory:    sigshm {rust_memory} KiB, C {c_memory} KiB");
    println!("                  {:+} KiB (goal: less than +1024 KiB)", rust_memory - c_memory);
}

/// The median of each of the figures that `turn` measures, in so many turns after the first ones.
fn medians<const N: usize>(
    warm_up: usize,
    turns: usize,
    turn: impl FnMut() -> [f64; N],
) -> [f64; N] {
    let turns: Vec<_> = iter::repeat_with(turn).take(warm_up + turns).skip(warm_up).collect();
    std::array::from_fn(|figure| {
        let mut all: Vec<f64> = turns.iter().map(|turn| turn[figure]).collect();
        let middle = all.len() / 2;
        *all.select_nth_unstable_by(middle, f64::total_cmp).1
    })
}

/// The time from before a process is started until it has been reaped, in microseconds.
fn time(command: &mut Command) -> f64 {
    let start = Instant::now();
    let status = command.status().unwrap();
    let elapsed = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    elapsed.as_secs_f64() * 1e6
}

/// The time of the last event that `--explain` tells, beside what a plain run on a terminal takes
/// beyond `sigshm --version`. (What is explained is printed after its last event.)
fn explained_timeline(programs: &Programs, warm_up: usize, turns: usize) {
    let [timeline, plain, version] = medians(warm_up, turns, || {
        // Nobody reads there meanwhile: it has room for more than these print.
        let on_terminal =
            |command: &mut Command| time(command.stdout(openpty(None, None).unwrap().slave));
        let [mut sigshm, _, mut version, _] = programs.commands();
        let [plain, version] = [&mut sigshm, &mut version].map(on_terminal);
        let explained = run(sigshm.arg("--explain"));
        let (last, ..) = *events(explained.text()).last().unwrap();
        [last as f64, plain, version]
    });
    let plain = plain - version;
    println!("  timeline:       {timeline:.0} µs, a plain run {plain:.0} µs beyond --version");
    println!("                  ratio {:.2} (goal: at most 1.30)", timeline / plain);
}

/// The peak of the resident memory of one of the two processes, in KiB.
///
/// `ru_maxrss` would not do: a process that is started inherits the peak of the one that starts it.
/// So the process is stopped when it is about to end and has its memory still, and is asked.
fn peak_memory(command: &mut Command, side: Side) -> f64 {
    let run = freeze(command, Point::Call(side, libc::SYS_exit_group)).unwrap();
    let pid = if side == Side::Parent { run.parent() } else { run.listener().unwrap() };
    let peak = status(pid, "VmHWM:").strip_suffix(" kB").unwrap().parse().unwrap();
    assert_eq!(run.release().finish(TIMEOUT).code, Some(0));
    peak
}

/// System calls of a run, beyond those that each program makes to start and to end.
fn system_calls(programs: &Programs, runs: usize) {
    if let Err(error) = Command::new("strace").arg("-V").output() {
        println!("  system calls:   not counted, because strace cannot be run: {error}");
        return;
    }
    let log = programs.scratch.dir().join("strace");
    let [rust, c, version, hello] =
        medians(0, runs, || programs.commands().map(|command| count_calls(&command, &log)));
    let (rust, c) = (rust - version, c - hello);
    println!("  system calls:   sigshm {rust} beyond `sigshm --version` (goal: at most 71)");
    println!("                  C {c} beyond a C hello");
}

/// The number of system calls that the program and its children make, as strace(1) counts them.
fn count_calls(command: &Command, log: &Path) -> f64 {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o"]).arg(log).args(whole(command)).stdin(Stdio::null());
    assert_eq!(run(&mut strace).code, Some(0), "{strace:?}");
    let table = fs::read_to_string(log).unwrap();
    // Percentage, seconds, microseconds a call, calls, maybe errors, and the name.
    let calls = |row: &str| -> Option<f64> {
        let column: Vec<&str> = row.split_whitespace().collect();
        let is_call = column.len() >= 5 && column.last() != Some(&"total");
        is_call.then(|| column[3].parse().ok()).flatten()
    };
    let all: Vec<f64> = table.lines().filter_map(calls).collect();
    assert!(!all.is_empty(), "{table}");
    all.iter().sum()
}

/// Lets so many runs wait for one lock, and then gives it to them.
fn queue(waiters: usize, hold: Duration) {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    // All of them write into one file. Each writes while it has the lock, so the order in the file
    // is the order in which they had it, whoever is seen to end first.
    let transcripts = scratch.dir().join("transcripts");
    let stdout = File::options().create(true).append(true).open(&transcripts).unwrap();
    let start = |rank: usize| {
        let mut command = scratch.sigshm(["--timeout=600", "--color=never"]);
        let run = Program::start_into(stdout.try_clone().unwrap(), command.arg(rank.to_string()));
        wait_until("the run waits", || is_blocked_in(run.pid(), libc::SYS_flock));
        let used = processor_time(run.pid());
        (run, used)
    };
    let mut runs: Vec<_> = (0..waiters).map(start).collect();
    // Not to wait for anything, but to have something to measure: what the waiting costs.
    thread::sleep(hold);
    let used: Duration = runs.iter().map(|(run, before)| processor_time(run.pid()) - *before).sum();

    let start = Instant::now();
    drop(lock);
    for (run, _) in &mut runs {
        assert!(run.child.wait().unwrap().success());
    }
    let elapsed = start.elapsed();

    let transcripts = fs::read_to_string(transcripts).unwrap();
    let received = transcripts.lines().filter_map(|line| line.strip_prefix("# Received: "));
    let order: Vec<usize> = received.map(|rank| rank.parse().unwrap()).collect();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..waiters), "{order:?}");
    let places: usize = order.iter().enumerate().map(|(place, rank)| place.abs_diff(*rank)).sum();
    println!(
        "  {waiters:>3} waiters:    {:.2} ms a run, {:.2} places out of order in the mean\n\
         {:18}{:.3} s of processor time while they waited",
        elapsed.as_secs_f64() * 1e3 / waiters as f64,
        places as f64 / waiters as f64,
        "",
        used.as_secs_f64()
    );
}
