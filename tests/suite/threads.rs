//! A preloaded library (a profiler's, an allocator's) may have started a thread. The kernel may
//! give it the signal. Then the handler has run, but no call of the program's own thread was
//! interrupted. So a listener that sleeps looks once a second.

use crate::support::told::*;
use crate::support::*;

const HELLO: &str = "Hello, world";

/// The threads of a process, its first one first.
fn threads(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let ids = tasks.map(|it| it.file_name().to_str().unwrap().parse().unwrap());
    let mut ids: Vec<i32> = ids.collect();
    ids.sort_by_key(|&id| id != pid.as_raw());
    ids.into_iter().map(Pid::from_raw).collect()
}

/// A listener that sleeps, and that has such a thread, which sleeps too. `None`, and it says NOT
/// TESTED, if the program loads no library.
fn listener_with_thread(scratch: &Scratch, options: &[&str]) -> Option<(Program, Pid)> {
    let mut command = scratch.sigshm(["--listen"]);
    preload(command.args(options), "THREAD");
    let listener = Program::start(command);
    listener.until_printed("# Registering");
    let [own, other] = threads(listener.pid())[..] else {
        not_tested("a thread that takes the signal", "no library is loaded");
        return None;
    };
    wait_until("both sleep", || {
        is_blocked_in(own, libc::SYS_pselect6) && state(other) == Some('S')
    });
    Some((listener, other))
}

/// How often a thread has gone to sleep.
fn sleeps(thread: Pid) -> u64 {
    status(thread, "voluntary_ctxt_switches:").parse().unwrap()
}

/// Sends the message in such a way that the other thread takes the signal.
#[track_caller]
fn send_to_thread(scratch: &Scratch, listener: Pid, thread: Pid) -> Program {
    // While a tracer holds a thread, the kernel does not choose it, if there is another one.
    ptrace::seize(listener, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(listener).unwrap();
    let stop = waitpid(listener, Some(WaitPidFlag::__WALL)).unwrap();
    assert!(matches!(stop, WaitStatus::PtraceEvent(..)), "{stop:?}");
    let before = sleeps(thread);
    let sender = Program::start(scratch.sender(listener, &[], HELLO));
    wait_until("the thread has run the handler", || sleeps(thread) > before);
    ptrace::detach(listener, None).unwrap();
    sender
}

#[test]
fn whichever_thread_takes_the_signal_each_of_ten_messages_is_received() {
    let options = ["--color=always", "--explain"];
    let rows = options.map(|option| [true, true, true, true, false].map(|by| (option, by)));
    at_once(rows.concat(), |(option, is_thread)| {
        let scratch = Scratch::new();
        let Some((listener, thread)) = listener_with_thread(&scratch, &[option]) else { return };
        let pid = listener.pid();
        let sender = if is_thread {
            send_to_thread(&scratch, pid, thread)
        } else {
            Program::start(scratch.sender(pid, &[], HELLO))
        };
        // It waits for five seconds only.
        assert_eq!(sender.finish_well(), sent(HELLO.len(), HELLO));
        let text = listener.finish_well();
        assert_eq!(without_explanations(&text), received(pid, HELLO));
        if option == "--explain" {
            let is_signal = |it: &&Told| matches!(it, Told::Signal { .. });
            assert_eq!(told(&text).iter().filter(is_signal).count(), 1, "{text}");
        }
    });
}

#[test]
fn with_such_a_thread_the_demo_delivers_and_a_stray_is_no_message() {
    let scratch = Scratch::new();
    let mut demo = scratch.sigshm([HELLO]);
    preload(&mut demo, "THREAD");
    run(&mut demo).assert_delivered(HELLO.len(), HELLO);

    let Some((listener, thread)) = listener_with_thread(&scratch, &[]) else { return };
    let pid = listener.pid();
    // SAFETY: tgkill takes three numbers and touches no memory.
    let sent_out = unsafe {
        let (process, thread) = (pid.as_raw(), thread.as_raw());
        libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1)
    };
    assert_eq!(sent_out, 0);
    listener.until_complained("still listening");
    let sender = send_to_thread(&scratch, pid, thread);
    assert_eq!(sender.finish_well(), sent(HELLO.len(), HELLO));
    assert_eq!(listener.finish().text(), received(pid, HELLO));
}

/// The calls of pselect(2) that are told, in order.
fn pselects(text: &str) -> Vec<Call> {
    let calls = told_calls(text).into_iter();
    calls.filter(|call| call.name() == "pselect").collect()
}

#[test]
fn a_listener_that_looks_once_a_second_ends_at_its_timeout() {
    // The time, and how often it sleeps at least; and whether it has such a thread.
    let rows = [(0.3, 1), (1.9, 2)].map(|row| [(row, false), (row, true)]);
    at_once(rows.concat(), |((timeout, times), with_thread)| {
        let scratch = Scratch::new();
        let option = format!("--timeout={timeout}");
        let mut command = scratch.sigshm(["--listen", "--explain", "--color=never", &option]);
        if with_thread {
            preload(&mut command, "THREAD");
        }
        let start = Instant::now();
        let finished = run(&mut command);
        let elapsed = start.elapsed().as_secs_f64();
        finished.assert_failed_with(&["no message came within", "--timeout"]);
        assert!((timeout..timeout + 10.0).contains(&elapsed), "{elapsed}");
        let text = finished.text();
        let [sleep] = &pselects(text)[..] else { panic!("{text}") };
        assert!(sleep.times() >= times, "{text}");
        // The last one is no longer than what is left.
        assert!(sleep.words.contains("{tv_sec=0, "), "{text}");
    });
}

#[test]
fn the_sleeps_of_a_listener_are_told_as_one_with_their_number() {
    let scratch = Scratch::new();
    let start = Instant::now();
    let listener = scratch.listen(&["--explain", "--color=never"]);
    let pid = listener.pid();
    let call = libc::SYS_pselect6;
    wait_until("it sleeps", || is_blocked_in(pid, call) && state(pid) == Some('S'));
    let before = sleeps(pid);
    wait_until("it has looked twice", || sleeps(pid) >= before + 2);
    let sender = Program::start(scratch.sender(pid, &[], HELLO));
    assert_eq!(sender.finish_well(), sent(HELLO.len(), HELLO));
    let text = listener.finish_well();
    let [sleep] = &pselects(&text)[..] else { panic!("{text}") };
    // In most runs there are 3.
    let most = start.elapsed().as_secs() as usize + 1;
    assert!((3..=most).contains(&sleep.times()), "{most}: {text}");
    assert!(sleep.returned.starts_with("-1 EINTR"), "{text}");
    assert!(sleep.words.contains("{tv_sec=1, tv_nsec=0}"), "{text}");
}
