//! Many runs at one path, one after the other: each message arrives, none is another run's, and
//! nobody waits longer than it must.

use crate::support::*;
use nix::sys::signal::{SigmaskHow, sigprocmask};

const HELLO: &str = "Hello, world";

/// How many runs at once.
const RUNS: usize = 40;

/// What a run says when it has to wait.
fn note(scratch: &Scratch) -> String {
    format!("sigshm: waiting: {} has locked the file {:?}\n", holder(), scratch.path())
}

/// This test, which has locked the file, as the errors name it.
fn holder() -> String {
    let name = fs::read_to_string("/proc/self/comm").unwrap();
    format!("PID {} ({:?})", std::process::id(), name.trim_end())
}

/// Whether the process waits in flock(2) for the file that is at the path now; see proc_locks(5).
fn waits_for_lock(scratch: &Scratch, pid: Pid) -> bool {
    let inode = format!(":{}", fs::metadata(scratch.path()).unwrap().ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| {
        // "1: -> FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF", where the arrow says that it
        // waits.
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns[1] == "->" && columns[5] == pid.to_string() && columns[6].ends_with(&inode)
    })
}

#[track_caller]
fn wait_until_it_waits(scratch: &Scratch, pid: Pid) {
    wait_until("the run waits for the lock", || waits_for_lock(scratch, pid));
}

/// A run that waits for the lock: it has said so, and is in flock(2). Nothing has begun.
#[track_caller]
fn waiting(scratch: &Scratch, command: impl BorrowMut<Command>) -> Program {
    let run = Program::start(command);
    wait_until_it_waits(scratch, run.pid());
    run.until_complained(&note(scratch));
    assert_eq!(run.printed(), "");
    run
}

/// The same, with this timeout.
#[track_caller]
fn waiting_for(scratch: &Scratch, timeout: &str) -> Program {
    waiting(scratch, scratch.sigshm(["--timeout", timeout, HELLO]))
}

/// A run that has waited delivers its message, and has said only once that it waits.
#[track_caller]
fn assert_delivers(scratch: &Scratch, run: Program) {
    let finished = run.finish();
    finished.assert_delivered(12, HELLO);
    assert_eq!(finished.stderr, note(scratch));
}

#[test]
fn forty_runs_at_once_deliver_forty_messages_each_its_own_and_none_takes_long() {
    let scratch = Scratch::new();
    let messages: Vec<String> =
        (0..RUNS).map(|number| format!("message {number} of {RUNS}")).collect();
    let start = |message| Program::start(scratch.sigshm(["--timeout=10", message]));
    let (early, late) = messages.split_at(RUNS / 2);
    // Half of them are there before anybody may begin. The others come while those are served.
    let lock = take_lock(&scratch);
    let mut running: Vec<Program> = early.iter().map(|message| start(message)).collect();
    for run in &running {
        wait_until_it_waits(&scratch, run.pid());
    }
    assert_eq!(scratch.processes().len(), early.len());
    let begun = Instant::now();
    drop(lock);
    running.extend(late.iter().map(|message| start(message)));
    for (message, run) in messages.iter().zip(running) {
        let finished = run.finish();
        finished.assert_delivered(message.len(), message);
        let said = &finished.stderr;
        // This test has the lock first, and then one run after the other.
        let is_note = said.lines().count() == 1
            && said.starts_with("sigshm: waiting: ")
            && said.contains(" has locked the file ");
        assert!(said.is_empty() || is_note, "{said}");
    }
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(10), "they took {taken:?}");
}

#[test]
fn runs_that_wait_are_served_in_the_order_in_which_they_came() {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    // All write at the end of one file. Each has the lock for as long as it writes, so the file
    // tells who was served when.
    let name = scratch.dir().join("transcripts");
    let transcripts = File::options().create_new(true).append(true).open(&name).unwrap();
    let messages: Vec<String> = (0..10).map(|number| format!("message {number}")).collect();
    let start = |message| {
        let command = scratch.sigshm(["--timeout=1000", message]);
        let run = Program::start_into(transcripts.try_clone().unwrap(), command);
        // The next one comes only when this one is in the kernel's queue.
        wait_until_it_waits(&scratch, run.pid());
        run
    };
    let runs: Vec<Program> = messages.iter().map(|message| start(message)).collect();
    drop(lock);
    for run in runs {
        assert_eq!(run.finish().code, Some(0));
    }
    let text = fs::read_to_string(name).unwrap();
    let mut rest = text.as_str();
    for message in messages {
        let whole = transcript(listener_in(rest), message.len(), &message);
        let after = rest.strip_prefix(&whole);
        rest = after.unwrap_or_else(|| panic!("{message:?} was not next: {text}"));
    }
    assert_eq!(rest, "");
}

#[test]
fn waiting_for_the_lock_costs_no_processor_time() {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let runs = ["1000"; 3].map(|timeout| waiting_for(&scratch, timeout));
    // How often each has been taken off a processor. One that has not been given a processor
    // meanwhile has used none.
    let switches = |run: &Program| {
        ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"]
            .map(|label| status(run.pid(), label))
    };
    let mut before = runs.each_ref().map(switches);
    wait_until("nobody has run for a while", || {
        thread::sleep(Duration::from_millis(200));
        let after = runs.each_ref().map(switches);
        let is_quiet = after == before;
        before = after;
        is_quiet
    });
    drop(lock);
    runs.into_iter().for_each(|run| assert_delivers(&scratch, run));
}

#[test]
fn a_run_that_waits_says_so_once_and_delivers_even_if_no_timer_can_hold_its_timeout() {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let runs = ["1000", "1e9", "1e18", "1.8e19"].map(|timeout| waiting_for(&scratch, timeout));
    drop(lock);
    runs.into_iter().for_each(|run| assert_delivers(&scratch, run));
}

#[test]
fn a_run_that_need_not_wait_does_not_speak_of_it() {
    let scratch = Scratch::new();
    for _ in 0..3 {
        let finished = run(scratch.sigshm([HELLO]));
        finished.assert_delivered(12, HELLO);
        assert_eq!(finished.stderr, "");
    }
}

#[test]
fn a_lock_whose_taker_has_ended_is_another_process_s() {
    let scratch = Scratch::new();
    // A descriptor that a child inherits holds the lock on.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 9< \"$1\"; flock 9; exec sleep 60", "sh"]).arg(scratch.path());
    let holder = Program::start(shell);
    wait_until("it has the lock", || {
        let file = File::open(scratch.path()).unwrap();
        Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err()
    });
    let finished = run(scratch.sigshm(["--timeout=0.2", HELLO]));
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    for line in finished.stderr.lines() {
        assert!(line.contains("another process has locked the file"), "{line}");
    }
    drop(holder);
    run(scratch.sigshm([HELLO])).assert_delivered(12, HELLO);
}

// The file is replaced, as an editor does it: a new file is put in the place of the old one.

/// Puts a new file at the path, and takes the lock on that one.
fn replace_file(scratch: &Scratch) -> Flock<File> {
    let new = scratch.dir().join("new");
    fs::write(&new, "").unwrap();
    fs::rename(&new, scratch.path()).unwrap();
    take_lock(scratch)
}

#[test]
fn a_run_whose_file_is_replaced_while_it_waits_takes_the_lock_on_the_new_one() {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let run = waiting_for(&scratch, "1000");
    let new_lock = replace_file(&scratch);
    drop(lock);
    wait_until_it_waits(&scratch, run.pid());
    drop(new_lock);
    assert_delivers(&scratch, run);
}

#[test]
fn a_run_whose_file_is_removed_while_it_waits_is_told_to_create_one() {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let run = waiting_for(&scratch, "1000");
    fs::remove_file(scratch.path()).unwrap();
    drop(lock);
    let finished = run.finish();
    let error = finished.stderr.strip_prefix(&note(&scratch)).unwrap();
    assert!(error.starts_with("sigshm: error: open("), "{error}");
    assert!(error.contains("create it (touch)"), "{error}");
    assert_eq!(finished.code, Some(1), "{finished:#?}");
}

#[test]
fn a_run_whose_file_is_replaced_again_and_again_still_gives_up_at_the_deadline() {
    let scratch = Scratch::new();
    let mut lock = take_lock(&scratch);
    let begun = Instant::now();
    let run = Program::start(scratch.sigshm(["--timeout=0.4", HELLO]));
    // If each new file had a new deadline, this would go on for ever.
    wait_until("the run gives up", || {
        wait_until("the run waits, or has ended", || {
            waits_for_lock(&scratch, run.pid()) || !run.is_alive()
        });
        drop(mem::replace(&mut lock, replace_file(&scratch)));
        !run.is_alive()
    });
    assert!(begun.elapsed() >= Duration::from_millis(400));
    let finished = run.finish();
    assert_eq!((finished.code, finished.text()), (Some(1), ""), "{finished:#?}");
    // It depends on the moment whether it names who has the lock, or that the file was replaced just
    // when it got the lock.
    let error = finished.stderr.strip_prefix(&note(&scratch)).expect("it says that it waits");
    let path = scratch.path();
    let replaced =
        format!("sigshm: error: {path:?} was replaced meanwhile: it was not locked within");
    let locked = format!("has locked the file {path:?}: it was not free within");
    assert!(error.starts_with(&replaced) || error.contains(&locked), "{error}");
    assert!(error.contains(" within 0.4 seconds; ") && error.lines().count() == 1, "{error}");
}

// A run that does not get the lock.

fn set_alarm(seconds: u32) -> nix::Result<()> {
    alarm::set(seconds);
    Ok(())
}

#[test]
fn a_run_that_does_not_get_the_lock_in_time_gives_up_whatever_its_starter_does_with_sigalrm() {
    type Prepare = fn() -> nix::Result<()>;
    let rows: [(&str, Prepare); 6] = [
        ("0.05", || Ok(())),
        ("0.2", || Ok(())),
        ("0.4", || Ok(())),
        // SIGALRM is ignored or blocked, or an alarm is due much later.
        ("0.3", || set(SIGALRM, SigHandler::SigIgn)),
        ("0.3", || sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::from(SIGALRM)), None)),
        ("0.3", || set_alarm(1000)),
    ];
    let scratch = Scratch::new();
    let _lock = take_lock(&scratch);
    at_once(rows, |(timeout, prepare)| {
        let begun = Instant::now();
        let finished = run(scratch.sigshm(["--timeout", timeout, HELLO]).in_child(prepare));
        assert!(begun.elapsed() >= Duration::from_secs_f64(timeout.parse().unwrap()));
        // It has said that it waits, and then how long it has waited in vain.
        let expected = format!(
            "{}sigshm: error: {} has locked the file {:?}: it was not free within {timeout} \
             seconds; if it is only slow, wait longer with --timeout\n",
            note(&scratch),
            holder(),
            scratch.path(),
        );
        assert_eq!(finished.outcome(), (Some(1), expected.as_str(), ""), "nothing has begun");
    });
}

#[test]
fn a_run_that_waits_is_ended_by_each_signal_that_ends_a_program() {
    let scratch = Scratch::new();
    let _lock = take_lock(&scratch);
    let signals = ENDING.into_iter().chain([SIGKILL]);
    let runs: Vec<_> = signals
        .map(|signal| {
            let mut command = scratch.sigshm(["--timeout=1000", HELLO]);
            command.in_child(|| setrlimit(Resource::RLIMIT_CORE, 0, 0));
            (waiting(&scratch, command), signal)
        })
        .collect();
    for (run, signal) in runs {
        kill(run.pid(), signal).unwrap();
        let finished = run.finish();
        assert_eq!(finished.signal, Some(signal as i32), "{finished:#?}");
        assert_eq!(finished.stderr, note(&scratch));
        assert_eq!(finished.text(), "", "nothing has begun");
    }
}

// The program that starts a run may have set an alarm(2). exec(2) keeps it.

#[test]
fn an_alarm_that_the_starter_has_set_ends_a_run_that_waits_and_one_that_has_waited() {
    let (waits, has_waited) = (Scratch::new(), Scratch::new());
    let locks = (take_lock(&waits), take_lock(&has_waited));
    let command = |scratch: &Scratch| {
        let mut command = scratch.sigshm(["--timeout=1000", HELLO]);
        command.in_child(|| set_alarm(1));
        command
    };
    let begun = Instant::now();
    let waits_still = waiting(&waits, command(&waits));
    // The other one gets the lock, and then blocks in its first write, into a full pipe.
    let (_reader, writer) = full_pipe();
    let goes_on = Program::start_into(writer, command(&has_waited));
    wait_until_it_waits(&has_waited, goes_on.pid());
    drop(locks.1);
    for (run, scratch) in [(waits_still, &waits), (goes_on, &has_waited)] {
        let finished = run.finish();
        assert!(begun.elapsed() >= Duration::from_secs(1), "not before its time");
        assert_eq!(finished.signal, Some(libc::SIGALRM), "{finished:#?}");
        assert_eq!(finished.stderr, note(scratch));
    }
}

#[test]
fn an_alarm_that_is_due_later_is_set_again_with_the_time_that_is_left_of_it() {
    let is_there = |tool: &str| Command::new(tool).arg("-V").output().is_ok();
    if !is_there("strace") || !is_there("python3") {
        let why = "there is no strace or no python3 here";
        return not_tested("that an alarm is set again", why);
    }
    let alarm = Duration::from_secs(1000);
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let log = scratch.dir().join("strace");
    let program = scratch.sigshm(["--timeout=1000", HELLO]);
    let mut command = Command::new("strace");
    // -D: this process becomes the program, and strace is another one. It uses alarm(2) itself to
    // do that, so the starter that sets this one is a program in between.
    let starter = "import os, signal, sys; signal.alarm(1000); os.execv(sys.argv[1], sys.argv[1:])";
    command.args(["-D", "-e", "trace=setitimer", "-e", "signal=none", "-o"]);
    command.arg(&log).args(["python3", "-c", starter]);
    command.arg(program.get_program()).args(program.get_args());
    command.env_remove("NO_COLOR");
    let begun = Instant::now();
    let run = waiting(&scratch, command);
    let waited = Instant::now();
    // So that the wait makes a difference: longer than it takes to start the program.
    thread::sleep(Duration::from_millis(100));
    let waited = waited.elapsed();
    drop(lock);
    let finished = run.finish();
    let whole = begun.elapsed();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let calls = || fs::read_to_string(&log).unwrap();
    wait_until("strace has written everything", || calls().contains("+++ exited"));
    let calls = calls();
    let last = calls.lines().rfind(|line| line.starts_with("setitimer(")).unwrap();
    let (_, last) = last.split_once("it_value={tv_sec=").unwrap();
    let (seconds, rest) = last.split_once(", tv_usec=").unwrap();
    let micros = rest.split('}').next().unwrap();
    let left = Duration::from_secs(seconds.parse().unwrap())
        + Duration::from_micros(micros.parse().unwrap());
    // Rounded up to a microsecond.
    let most = alarm - waited + Duration::from_micros(1);
    assert!(
        (alarm - whole..=most).contains(&left),
        "{left:?} are left after {whole:?}, of which it waited {waited:?}: {calls}"
    );
}
