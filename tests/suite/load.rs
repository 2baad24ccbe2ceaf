//! Many runs at one path, one after the other: each message arrives, none is another run's, and
//! nobody waits longer than it must.

#[cfg(target_os = "linux")]
use crate::support::strace::Strace;
use crate::support::*;
use nix::sys::signal::{SigmaskHow, sigprocmask};

/// What a run says when it has to wait.
fn note(scratch: &Scratch) -> String {
    format!("sigshm: waiting: {} has locked the file {:?}\n", holder(), scratch.path())
}

/// This test, which has locked the file, as the errors name it.
fn holder() -> String {
    if uses_linux() { described(Pid::this()) } else { "another process".to_owned() }
}

/// Whether the process waits in flock(2) for the file that is at the path now; see proc_locks(5).
fn waits_for_lock(scratch: &Scratch, pid: Pid) -> bool {
    // "1: -> FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE 0 EOF", where the arrow says that it waits.
    let (pid, inode) = (format!(" {pid} "), fs::metadata(scratch.path()).unwrap().ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let mut waits = locks.lines().filter(|it| it.contains(" -> ") && it.contains(&pid));
    waits.any(|it| it.contains(&format!(":{inode} ")))
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
    let message = |number| format!("message {number} of 40");
    let start = |number| Program::start(scratch.sigshm(["--timeout=60", &message(number)]));
    // Half of them are there before anybody may begin. The others come while those are served.
    let lock = take_lock(&scratch);
    let mut running: Vec<Program> = (0..20).map(start).collect();
    for run in &running {
        wait_until_it_waits(&scratch, run.pid());
    }
    assert_eq!(scratch.processes().len(), 20);
    let begun = Instant::now();
    drop(lock);
    running.extend((20..40).map(start));
    for (number, run) in running.into_iter().enumerate() {
        let (finished, message) = (run.finish(), message(number));
        finished.assert_delivered(message.len(), &message);
        // This test has the lock first, and then one run after the other.
        let is_note =
            |it: &str| it.starts_with("sigshm: waiting: ") && it.contains(" has locked the file ");
        let said: Vec<_> = finished.stderr.lines().collect();
        assert!(said.len() < 2 && said.iter().all(|it| is_note(it)), "{said:?}");
    }
    let taken = begun.elapsed();
    // On a slow machine, or beside other tests, ten that do not wait take some seconds too.
    let begun = Instant::now();
    (0..10).for_each(|_| run(scratch.sigshm([HELLO])).assert_hello());
    let long = Duration::from_secs(10).max(20 * begun.elapsed());
    assert!(taken < long, "they took {taken:?}, and {long:?} is long");
}

#[test]
fn runs_that_wait_are_served_in_the_order_in_which_they_came() {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    // All write at the end of one file. Each has the lock for as long as it writes, so the file
    // tells who was served when.
    let name = scratch.dir().join("transcripts");
    let transcripts = File::options().create_new(true).append(true).open(&name).unwrap();
    let messages = std::array::from_fn::<_, 10, _>(|number| format!("message {number}"));
    let runs = messages.each_ref().map(|message| {
        let command = scratch.sigshm(["--timeout=1000", message]);
        let run = Program::start_into(transcripts.try_clone().unwrap(), command);
        // The next one comes only when this one is in the kernel's queue.
        wait_until_it_waits(&scratch, run.pid());
        run
    });
    drop(lock);
    for run in runs {
        assert_eq!(run.finish().code, Some(0));
    }
    let text = fs::read_to_string(name).unwrap();
    let mut rest = text.as_str();
    for message in messages {
        let whole = transcript(listener_in(rest), message.len(), &message);
        rest = rest.strip_prefix(&whole).expect(&message);
    }
    assert_eq!(rest, "");
}

#[cfg(target_os = "linux")]
#[test]
fn waiting_for_the_lock_costs_no_processor_time() {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let runs = ["1000"; 3].map(|timeout| waiting_for(&scratch, timeout));
    // How often each has been taken off a processor. If never, it has used none.
    let labels = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
    let switches = |run: &Program| labels.map(|label| status(run.pid(), label));
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
    // One that need not wait does not speak of it.
    for _ in 0..3 {
        let finished = run(scratch.sigshm([HELLO]));
        finished.assert_delivered(12, HELLO);
        assert_eq!(finished.stderr, "");
    }
    let lock = take_lock(&scratch);
    let runs = ["1000", "1e9", "1e18", "1.8e19"].map(|timeout| waiting_for(&scratch, timeout));
    drop(lock);
    runs.into_iter().for_each(|run| assert_delivers(&scratch, run));
}

#[test]
fn a_lock_whose_taker_has_ended_or_has_closed_the_file_or_is_the_run_is_another_process_s() {
    // SAFETY: flock takes two numbers.
    let lock = |fd| Errno::result(unsafe { libc::flock(fd, libc::LOCK_EX) }).map(drop);
    // A descriptor that somebody inherits holds the lock on.
    for taker in ["has ended", "has closed the file", "is the run"] {
        let scratch = Scratch::new();
        let file = File::open(scratch.path()).unwrap();
        let mut waiter = scratch.sigshm(["--timeout=0.2", HELLO]);
        let mut holder = Command::new("sh");
        if taker == "has ended" {
            if !is_there("flock") {
                continue;
            }
            holder.args(["-c", "flock 0; echo; exec sleep 60"]).stdin(file);
        } else if taker == "has closed the file" {
            lock(file.as_raw_fd()).unwrap();
            holder.args(["-c", "echo; exec sleep 60"]).stdin(file);
        } else {
            waiter.stdin(file).in_child(move || lock(0));
            holder.args(["-c", "echo"]);
        }
        let holder = Program::start(holder);
        holder.until_printed("\n");
        let finished = run(waiter);
        assert_eq!(finished.code, Some(1), "{finished:#?}");
        for line in finished.stderr.lines() {
            assert!(line.contains("another process has locked the file"), "{taker}: {line}");
        }
        drop(holder);
        run(scratch.sigshm([HELLO])).assert_delivered(12, HELLO);
    }
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
        format!(": {path:?} was replaced meanwhile: it was not locked within 0.4 seconds;");
    let locked = format!(" has locked the file {path:?}: it was not free within 0.4 seconds;");
    assert!(error.starts_with("sigshm: error: ") && error.lines().count() == 1, "{error}");
    assert!(error.contains(&replaced) || error.contains(&locked), "{error}");
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

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_waits_is_ended_by_each_signal_that_ends_a_program() {
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let start = |signal| (waiting_for(&scratch, "1000"), signal);
    let runs: Vec<_> = ENDING.into_iter().chain([SIGKILL]).map(start).collect();
    for (run, signal) in runs {
        kill(run.pid(), signal).unwrap();
        let finished = run.finish();
        assert_eq!(finished.signal, Some(signal as i32), "{finished:#?}");
        assert_eq!(finished.outcome(), (None, &*note(&scratch), ""), "nothing has begun");
    }
    // But not by one that its starter ignores.
    let mut command = scratch.sigshm(["--timeout=1000", HELLO]);
    command.in_child(|| set(SIGALRM, SigHandler::SigIgn));
    let run = waiting(&scratch, command);
    kill(run.pid(), SIGALRM).unwrap();
    drop(lock);
    assert_delivers(&scratch, run);
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

#[cfg(target_os = "linux")]
#[test]
fn an_alarm_that_is_due_later_is_set_again_with_the_time_that_is_left_of_it() {
    needs!(Strace::find().is_some() && is_there("python3"));
    let scratch = Scratch::new();
    let lock = take_lock(&scratch);
    let log = scratch.dir().join("strace");
    let mut command = Command::new("strace");
    // -D: this process becomes the program, and strace is another one. It uses alarm(2) itself to
    // do that, so the starter that sets this one is a program in between.
    let starter = "import os, signal, sys; signal.alarm(1000); os.execv(sys.argv[1], sys.argv[1:])";
    command.args(["-D", "-e", "trace=setitimer", "-e", "signal=none", "-o"]);
    command.arg(&log).args(["python3", "-c", starter]).env_remove("NO_COLOR");
    command.args(whole(&scratch.sigshm(["--timeout=1000", HELLO])));
    let begun = Instant::now();
    let run = waiting(&scratch, command);
    // So that the wait makes a difference: longer than it takes to start the program.
    let waited = Duration::from_millis(100);
    thread::sleep(waited);
    drop(lock);
    let finished = run.finish();
    let all = begun.elapsed();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let calls = || fs::read_to_string(&log).unwrap();
    wait_until("strace has written everything", || calls().contains("+++ exited"));
    let calls = calls();
    let (_, last) = calls.rsplit_once("\nsetitimer(").unwrap();
    let (_, last) = last.split_once("it_value={tv_sec=").unwrap();
    let mut numbers = last.split(|it: char| !it.is_ascii_digit()).flat_map(str::parse);
    let [seconds, micros] = [0; 2].map(|_| numbers.next().unwrap());
    let gone = Duration::from_secs(1000) - Duration::new(seconds, micros as u32 * 1000);
    // What is left is rounded up to a microsecond.
    let least = waited - Duration::from_micros(1);
    assert!((least..=all).contains(&gone), "{gone:?} of {all:?}, of which it waited: {calls}");
}
