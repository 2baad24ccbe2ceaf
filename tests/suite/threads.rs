//! A preloaded library (a profiler's, an allocator's) may have started a thread, and the kernel may
//! give it the signal. Then the handler has run, but has interrupted no call of the program's own
//! thread. So a listener that sleeps looks once a second.

use crate::support::told::*;
use crate::support::tracer::can_trace;
use crate::support::*;

/// A listener that sleeps, and that has such a thread, which sleeps too.
fn listener_with_thread(scratch: &Scratch, options: &[&str]) -> (Program, Pid) {
    let mut command = scratch.sigshm(["--listen"]);
    preload(command.args(options), &library("THREAD"));
    let listener = Program::start(command);
    listener.until_printed("# Registering");
    let own = listener.pid();
    let tasks = fs::read_dir(format!("/proc/{own}/task")).unwrap().flatten();
    let threads = tasks.map(|it| Pid::from_raw(it.file_name().to_str().unwrap().parse().unwrap()));
    let other = threads.into_iter().find(|&thread| thread != own).expect("the library is loaded");
    wait_until("both sleep", || {
        is_blocked_in(own, libc::SYS_pselect6) && state(other) == Some('S')
    });
    (listener, other)
}

/// How often a thread has gone to sleep.
fn sleeps(thread: Pid) -> u64 {
    status(thread, "voluntary_ctxt_switches:").parse().unwrap()
}

/// Sends the message in such a way that the other thread takes the signal, which goes well.
#[track_caller]
fn send_to_thread(scratch: &Scratch, listener: Pid, thread: Pid) {
    // While a tracer holds a thread, the kernel does not choose it, if there is another one.
    ptrace::seize(listener, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(listener).unwrap();
    let stop = waitpid(listener, Some(WaitPidFlag::__WALL)).unwrap();
    assert!(matches!(stop, WaitStatus::PtraceEvent(..)), "{stop:?}");
    let before = sleeps(thread);
    let sender = Program::start(scratch.sender(listener, &[], HELLO));
    wait_until("the thread has run the handler", || sleeps(thread) > before);
    ptrace::detach(listener, None).unwrap();
    assert_eq!(sender.finish_well(), sent(HELLO.len(), HELLO));
}

#[test]
fn whichever_thread_takes_the_signal_each_of_ten_messages_is_received() {
    needs!(loads_libraries());
    needs!(can_trace());
    let by_thread = [true, true, true, true, false];
    let rows = ["--color=always", "--explain"].map(|option| by_thread.map(|it| (option, it)));
    at_once(rows.concat(), |(option, is_thread)| {
        let scratch = Scratch::new();
        let (listener, thread) = listener_with_thread(&scratch, &[option]);
        let pid = listener.pid();
        // The sender waits for five seconds only.
        if is_thread {
            send_to_thread(&scratch, pid, thread);
        } else {
            scratch.assert_sends(pid, HELLO);
        }
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
    needs!(loads_libraries());
    needs!(can_trace());
    let scratch = Scratch::new();
    run(preload(&mut scratch.sigshm([HELLO]), &library("THREAD")))
        .assert_delivered(HELLO.len(), HELLO);

    let (listener, thread) = listener_with_thread(&scratch, &[]);
    let pid = listener.pid();
    // (With the number of a thread, kill(2) is for its whole process.)
    let [process, other] = [pid, thread].map(Pid::as_raw);
    // SAFETY: tgkill takes three numbers and touches no memory.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, other, libc::SIGUSR1) };
    assert_eq!(sent, 0);
    listener.until_complained("still listening");
    send_to_thread(&scratch, pid, thread);
    assert_eq!(listener.finish().text(), received(pid, HELLO));
}

/// The one call of pselect(2) that is told.
#[track_caller]
fn sleep_told(text: &str) -> Call {
    named(&told_calls(text), "pselect", 1)[0].clone()
}

#[test]
fn a_listener_that_looks_once_a_second_ends_at_its_timeout() {
    // The time, and how often it sleeps at least; and whether it has such a thread.
    let rows = [(0.3, 1), (1.9, 2)].map(|row| [(row, false), (row, true)]);
    at_once(rows.concat(), |((timeout, times), with_thread)| {
        if with_thread && !loads_libraries() {
            return;
        }
        let scratch = Scratch::new();
        let option = format!("--timeout={timeout}");
        let mut command = scratch.sigshm(["--listen", "--explain", "--color=never", &option]);
        if with_thread {
            preload(&mut command, &library("THREAD"));
        }
        let start = Instant::now();
        let finished = run(&mut command);
        let elapsed = start.elapsed().as_secs_f64();
        finished.assert_failed_with(&["no message came within", "--timeout"]);
        assert!((timeout..timeout + 10.0).contains(&elapsed), "{elapsed}");
        let sleep = sleep_told(finished.text());
        // The last one is no longer than what is left.
        assert!(sleep.times() >= times && sleep.words.contains("{tv_sec=0, "), "{sleep:?}");
    });
}

#[test]
fn the_sleeps_of_a_listener_are_told_as_one_with_their_number() {
    let scratch = Scratch::new();
    let start = Instant::now();
    let listener = scratch.listen(&["--explain", "--color=never"]);
    let pid = listener.pid();
    wait_until("it sleeps", || is_blocked_in(pid, libc::SYS_pselect6));
    let before = sleeps(pid);
    wait_until("it has looked twice", || sleeps(pid) >= before + 2);
    scratch.assert_sends(pid, HELLO);
    let sleep = sleep_told(&listener.finish_well());
    // In most runs there are 3.
    let most = start.elapsed().as_secs() as usize + 1;
    assert!((3..=most).contains(&sleep.times()), "{most}: {sleep:?}");
    assert!(sleep.returned.starts_with("-1 EINTR"), "{sleep:?}");
    assert!(sleep.words.contains("{tv_sec=1, tv_nsec=0}"), "{sleep:?}");
}
