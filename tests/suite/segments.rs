//! Segments that are already at the key, and segments that change while the run uses them: an
//! abandoned one is reclaimed, one in use is waited for, any other is left as it is, and what is no
//! message of ours is never delivered.

use std::slice;

use nix::sys::signal::raise;
use nix::unistd::{ForkResult, fork};
use sigshm::sys::{Error, Key, OwnedSegment};

use crate::support::tracer::{Frozen, Point, Released, Side, freeze};
use crate::support::*;

/// The size of our segments, in bytes.
const SIZE: usize = 1024;

/// Where the text starts, and how long it may be.
const TEXT: usize = 2 * size_of::<usize>();
const LONGEST_TEXT: usize = SIZE - TEXT - 1;

/// A user who is not root.
const SOMEBODY_ELSE: u32 = 65534;

// Making segments, and looking at them.

/// A process that has done something and now stands still, so that it lives until this is dropped.
///
/// Whatever attaches a segment does it in a process of its own. Every process that another test
/// starts in the meantime would otherwise inherit the attachment for a moment, and the kernel would
/// count it.
struct Helper(Pid);

impl Helper {
    /// Does the work in a new process; `None` if it has failed there. The work may make system
    /// calls, but must not allocate.
    fn doing(work: impl FnOnce() -> io::Result<()>) -> Option<Self> {
        // SAFETY: the child makes only system calls, and does not return from here.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                if work().is_ok() {
                    let _ = raise(SIGSTOP);
                }
                // SAFETY: this ends the process at once.
                unsafe { libc::_exit(1) }
            }
            ForkResult::Parent { child } => {
                let helper = Self(child);
                let mut status = WaitStatus::StillAlive;
                wait_until("the work is done", || {
                    status = waitpid(child, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED))
                        .unwrap();
                    status != WaitStatus::StillAlive
                });
                if status != WaitStatus::Stopped(child, SIGSTOP) {
                    // It has ended and is reaped, so its identifier may soon be another's.
                    mem::forget(helper);
                    return None;
                }
                Some(helper)
            }
        }
    }

    fn kill(&self) {
        kill(self.0, SIGKILL).unwrap();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = kill(self.0, SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// Creates a segment and fills it.
fn create(key: i32, mode: i32, content: &[u8]) -> io::Result<()> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | mode;
    // SAFETY: shmget takes three numbers and touches no memory.
    let id = Errno::result(unsafe { libc::shmget(key, content.len(), flags) })?;
    overwrite(id, content)
}

/// Attaches the segment, puts `content` at its start, and detaches it.
fn overwrite(id: i32, content: &[u8]) -> io::Result<()> {
    let address = attach(id, 0)?;
    // SAFETY: the segment is attached for writing and is at least as large as `content`, and no
    // reference is made to it.
    unsafe { address.copy_from_nonoverlapping(content.as_ptr(), content.len()) };
    detach(address)
}

/// Whether the segment holds exactly `expected`. Attaching it changes its status.
fn holds(id: i32, expected: &[u8]) -> bool {
    let compare = || {
        let address = attach(id, libc::SHM_RDONLY)?;
        // SAFETY: the segment is attached, has as many bytes, and nobody writes to it now.
        let content = unsafe { slice::from_raw_parts(address, expected.len()) };
        if content == expected { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    };
    Helper::doing(compare).is_some()
}

fn attach(id: i32, flags: i32) -> io::Result<*mut u8> {
    // SAFETY: with a null address the kernel maps the segment where nothing else is.
    let address = unsafe { libc::shmat(id, std::ptr::null(), flags) };
    if address.addr() == usize::MAX {
        return Err(io::Error::last_os_error());
    }
    Ok(address.cast())
}

fn detach(address: *mut u8) -> io::Result<()> {
    // SAFETY: `attach` has returned the address, and nothing borrows what is there.
    Errno::result(unsafe { libc::shmdt(address.cast_const().cast()) })?;
    Ok(())
}

/// Gives the segment to another owner, which its creator may do; who created it stays as it was.
fn give_to(owner: u32, id: i32) {
    // SAFETY: shmid_ds consists of integers, for which zeros are valid.
    let mut kernel = unsafe { mem::zeroed::<libc::shmid_ds>() };
    // SAFETY: IPC_STAT writes one shmid_ds, IPC_SET reads one, and `kernel` is one.
    unsafe {
        Errno::result(libc::shmctl(id, libc::IPC_STAT, &raw mut kernel)).unwrap();
        kernel.shm_perm.uid = owner;
        Errno::result(libc::shmctl(id, libc::IPC_SET, &raw mut kernel)).unwrap();
    }
}

/// The bytes of a message, well made or not.
fn message(id: i32, size: usize, text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    bytes[..size_of::<i32>()].copy_from_slice(&id.to_ne_bytes());
    bytes[size_of::<usize>()..TEXT].copy_from_slice(&size.to_ne_bytes());
    bytes[TEXT..TEXT + text.len()].copy_from_slice(text);
    bytes
}

/// Bytes that differ from place to place, so that a change anywhere is seen.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 7 + index / 256) as u8).collect()
}

/// A segment that was there before the run, as it was.
struct Occupant {
    segment: Segment,
    status: Vec<String>,
    content: Vec<u8>,
}

impl Occupant {
    /// The one segment at the key, which somebody has just filled with `content`.
    fn at_the_key_of(scratch: &Scratch, content: Vec<u8>) -> Self {
        let [segment] = &scratch.segments()[..] else {
            panic!("there should be one segment: {:?}", scratch.segments());
        };
        let status = status(segment.id);
        Self { segment: segment.clone(), status, content }
    }

    /// Created by a process that lives.
    fn created_by_a_living_process(
        scratch: &Scratch,
        mode: i32,
        content: Vec<u8>,
    ) -> (Self, Helper) {
        let key = scratch.key();
        let creator = Helper::doing(|| create(key, mode, &content)).expect("it is created");
        let occupant = Self::at_the_key_of(scratch, content);
        assert_eq!(occupant.segment.creator_pid, creator.0.as_raw());
        (occupant, creator)
    }

    /// Created by a process that has ended and has been reaped.
    fn left_by_a_dead_process(scratch: &Scratch, mode: i32, content: Vec<u8>) -> Self {
        let (occupant, creator) = Self::created_by_a_living_process(scratch, mode, content);
        drop(creator);
        assert!(is_gone(Pid::from_raw(occupant.segment.creator_pid)));
        occupant
    }

    /// As the last, by a process of another user. Only root can create one.
    fn left_by_somebody_else(scratch: &Scratch) -> Self {
        let (key, content) = (scratch.key(), pattern(SIZE));
        let create_it = || {
            // SAFETY: setuid takes a number. The bare system call changes the one thread that the
            // process has.
            Errno::result(unsafe { libc::syscall(libc::SYS_setuid, SOMEBODY_ELSE) })?;
            create(key, 0o666, &content)
        };
        drop(Helper::doing(create_it).expect("it is created"));
        Self::at_the_key_of(scratch, content)
    }

    /// Takes note of what the test itself has changed since.
    fn noted_again(self, scratch: &Scratch) -> Self {
        Self::at_the_key_of(scratch, self.content)
    }

    /// The run has failed, has said what stands in its way, and has left it as it was.
    fn assert_left_alone(&self, scratch: &Scratch, run: &Finished, reason: &str) {
        let Segment { id, owner, creator, creator_pid, .. } = self.segment;
        run.assert_failed_with(&[
            &format!("segment {id} "),
            &format!("owned by uid {owner}"),
            &format!("created by uid {creator} in PID {creator_pid}"),
            &format!("because {reason}"),
            &format!("ipcrm -m {id}\n"),
        ]);
        assert_not_delivered(run);
        self.assert_untouched(scratch);
    }

    /// It is alone at the key, byte for byte as before, and nobody has attached it since.
    fn assert_untouched(&self, scratch: &Scratch) {
        wait_until("no process is left", || scratch.processes().is_empty());
        assert_eq!(scratch.segments(), slice::from_ref(&self.segment));
        // The status comes first: looking at the content attaches the segment.
        assert_eq!(status(self.segment.id), self.status, "its status has changed");
        assert!(holds(self.segment.id, &self.content), "its content has changed");
    }

    /// The run has delivered the message, has said whose segment was in its way, and has left
    /// nothing.
    fn assert_reclaimed(&self, scratch: &Scratch, run: &Finished) {
        run.assert_delivered(12, "Hello, world");
        assert_eq!(run.stderr.lines().count(), 1, "{run:#?}");
        let Segment { id, creator_pid, .. } = self.segment;
        for part in ["reclaimed", &format!("segment {id} "), &format!("PID {creator_pid})")] {
            assert!(run.stderr.contains(part), "{part:?} is not in {:?}", run.stderr);
        }
        scratch.assert_nothing_left();
    }
}

/// The segment's line in the kernel's list: the permissions, sizes, processes, users and times in
/// it, but not the two last columns, which say where its pages happen to be.
fn status(id: i32) -> Vec<String> {
    let list = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let columns =
        |line: &str| line.split_whitespace().take(14).map(String::from).collect::<Vec<_>>();
    list.lines()
        .map(columns)
        .find(|columns| columns[1] == id.to_string())
        .expect("the segment is there")
}

fn say_hello(scratch: &Scratch) -> Finished {
    run(scratch.sigshm(["Hello, world"]))
}

/// A run for which the segment is in use for too long: it gives up, but not before its time.
#[track_caller]
fn say_hello_in_vain(scratch: &Scratch) -> Finished {
    let begun = Instant::now();
    let finished = run(scratch.sigshm(["--timeout=0.3", "Hello, world"]));
    assert!(begun.elapsed() >= Duration::from_millis(300), "{finished:#?}");
    finished
}

/// A run that fails at once: it does not wait for its timeout, which is longer than a test may
/// take.
#[track_caller]
fn say_hello_and_fail_at_once(scratch: &Scratch) -> Finished {
    assert!(TIMEOUT < Duration::from_secs(1000));
    run(scratch.sigshm(["--timeout=1000", "Hello, world"]))
}

fn assert_not_delivered(run: &Finished) {
    assert!(!run.text().contains("Received:"), "{run:#?}");
    assert!(!run.text().contains("All done"), "{run:#?}");
}

/// Whether this runs as root, who alone can create another user's segment. If not, it is said aloud
/// that `what` is not tested.
fn is_root(what: &str) -> bool {
    let root = Uid::effective().is_root();
    if !root {
        not_tested(what, "it needs root");
    }
    root
}

// Abandoned segments.

#[test]
fn a_segment_left_by_a_dead_run_is_reclaimed() {
    let scratch = Scratch::new();
    let occupant = Occupant::left_by_a_dead_process(&scratch, 0o600, message(1, 3, b"old"));
    occupant.assert_reclaimed(&scratch, &say_hello(&scratch));
}

#[test]
fn a_segment_left_by_a_run_that_was_killed_is_reclaimed() {
    let scratch = Scratch::new();
    let held = Held::at(LOOK_UP, &scratch, "30");
    kill(held.run.parent(), SIGKILL).unwrap();
    assert_eq!(held.let_go().signal, Some(libc::SIGKILL));

    let occupant = Occupant::at_the_key_of(&scratch, Vec::new());
    occupant.assert_reclaimed(&scratch, &say_hello(&scratch));
}

#[test]
fn a_segment_whose_creator_is_dead_but_not_reaped_is_reclaimed() {
    let scratch = Scratch::new();
    let (occupant, creator) = Occupant::created_by_a_living_process(&scratch, 0o600, pattern(SIZE));
    creator.kill();
    wait_until("the creator is a zombie", || state(creator.0) == Some('Z'));
    let run = say_hello(&scratch);
    assert_eq!(state(creator.0), Some('Z'), "it was a zombie all the time");
    occupant.assert_reclaimed(&scratch, &run);
}

#[test]
fn the_segment_that_the_articles_program_leaves_behind_is_reclaimed() {
    let scratch = Scratch::new();
    // The message names the folder, by which the program's child can be found should it not end.
    let mut article = Command::new(compile_peer("article"));
    article.arg(scratch.dir()).current_dir(scratch.dir());
    let article = Program::start(&mut article);
    let pid = article.pid();
    assert_eq!(article.finish().code, Some(0));
    wait_until("its child has ended", || scratch.processes().is_empty());

    let occupant = Occupant::at_the_key_of(&scratch, Vec::new());
    assert_eq!((occupant.segment.mode & 0o777, occupant.segment.size), (0o666, SIZE));
    assert_eq!(occupant.segment.creator_pid, pid.as_raw());
    occupant.assert_reclaimed(&scratch, &say_hello(&scratch));
}

#[test]
fn a_segment_left_by_a_run_whose_pid_the_new_run_has_got_is_reclaimed() {
    let scratch = Scratch::new();
    let occupant = Occupant::left_by_a_dead_process(&scratch, 0o600, message(1, 3, b"old"));
    let pid = occupant.segment.creator_pid;
    let mut command = scratch.sigshm(["Hello, world"]);
    // SAFETY: between fork and exec this makes system calls only, and allocates nothing.
    unsafe { command.pre_exec(move || go_on_as(pid)) };
    let first = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(first) => first,
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
            let what = "a segment left by a run whose PID the new run has got";
            return not_tested(what, "no process can be given a PID here (clone3)");
        }
        Err(error) => panic!("{error}"),
    };
    // Its output ends when the run has ended, which is another child of this process.
    let output = first.wait_with_output().unwrap();
    let WaitStatus::Exited(_, code) = waitpid(Pid::from_raw(pid), None).unwrap() else {
        panic!("the run was killed: {output:?}");
    };
    let finished = Finished {
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: Some(code),
        signal: None,
    };
    occupant.assert_reclaimed(&scratch, &finished);
}

/// Goes on in a new process that has this PID, a child of the test too; see clone(2), `set_tid`.
/// The old one ends.
///
/// Allocates nothing, so that it may be called between fork and exec.
fn go_on_as(pid: i32) -> io::Result<()> {
    // SAFETY: the struct consists of integers, for which zeros are valid.
    let mut arguments = unsafe { mem::zeroed::<libc::clone_args>() };
    arguments.flags = libc::CLONE_PARENT as u64;
    arguments.set_tid = (&raw const pid).addr() as u64;
    arguments.set_tid_size = 1;
    // SAFETY: the kernel reads the arguments and one PID, which live until the call has returned.
    // The new process has a copy of this one's memory, as after fork(2).
    let made = unsafe {
        libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>())
    };
    match Errno::result(made)? {
        0 => Ok(()),
        // SAFETY: this ends the process at once.
        _ => unsafe { libc::_exit(0) },
    }
}

/// A run finds a segment that was left behind, and somebody else changes that at one of its steps,
/// for each of them. It must deliver all the same. `change` is given the segment, if it is still
/// there. Returns at how many steps it was, although the run was about to look, or had looked.
fn change_at_every_step(change: impl Fn(&Scratch, &Segment)) -> usize {
    let mut looked = 0;
    for step in 0.. {
        let scratch = Scratch::new();
        let left = leave_behind(&scratch);
        let mut command = scratch.sigshm(["--timeout=60", "Hello, world"]);
        let frozen = match freeze(&mut command, Point::Step(Side::Parent, step)) {
            Ok(frozen) => frozen,
            Err(finished) => {
                finished.assert_delivered(12, "Hello, world");
                assert!(step > 60, "{step}");
                return looked;
            }
        };
        if scratch.segments() == [left.clone()] {
            // Having said what it writes, it asks for the segment.
            looked += usize::from(frozen.printed().contains("text:"));
            change(&scratch, &left);
        }
        let finished = frozen.release().finish(TIMEOUT);
        finished.assert_delivered(12, "Hello, world");
        let mut notes = finished.stderr.lines();
        assert!(notes.all(|it| it.starts_with("sigshm: reclaimed segment ")));
    }
    unreachable!("there are only so many steps")
}

#[test]
fn a_left_segment_that_somebody_else_removes_at_any_step_of_the_run_is_no_hindrance() {
    let looked = change_at_every_step(|_, left| remove_segment(left.id));
    // It cannot create its own, finds this one, looks at it, and is about to remove it: each is a
    // call, with an entry and, but for the last, an exit.
    assert!(looked >= 7, "{looked}");
}

#[test]
fn a_left_segment_that_another_one_replaces_at_any_step_of_the_run_is_no_hindrance() {
    let looked = change_at_every_step(|scratch, left| {
        remove_segment(left.id);
        leave_behind(scratch);
    });
    assert!(looked >= 7, "{looked}");
}

// Segments that are in use are waited for.

/// A run that has found the segment in use, and looks at it again and again.
#[track_caller]
fn say_hello_and_wait(scratch: &Scratch) -> Program {
    let run = Program::start(scratch.sigshm(["--timeout=60", "Hello, world"]));
    run.until_printed("text:Hello, world.");
    wait_until("it sleeps between two looks", || state(run.pid()) == Some('S'));
    run
}

#[test]
fn a_segment_whose_creator_ends_before_the_timeout_is_reclaimed_then() {
    let scratch = Scratch::new();
    let (occupant, creator) = Occupant::created_by_a_living_process(&scratch, 0o600, pattern(SIZE));
    let run = say_hello_and_wait(&scratch);
    drop(creator);
    occupant.assert_reclaimed(&scratch, &run.finish());
}

#[test]
fn a_segment_whose_creator_becomes_a_zombie_before_the_timeout_is_reclaimed_then() {
    let scratch = Scratch::new();
    let (occupant, creator) = Occupant::created_by_a_living_process(&scratch, 0o600, pattern(SIZE));
    let run = say_hello_and_wait(&scratch);
    creator.kill();
    let finished = run.finish();
    assert_eq!(state(creator.0), Some('Z'), "nobody has reaped it");
    occupant.assert_reclaimed(&scratch, &finished);
}

#[test]
fn a_segment_that_is_detached_before_the_timeout_is_reclaimed_then() {
    let scratch = Scratch::new();
    let occupant = Occupant::left_by_a_dead_process(&scratch, 0o600, pattern(SIZE));
    let id = occupant.segment.id;
    let attached = Helper::doing(|| attach(id, 0).map(drop)).expect("it can be attached");
    let run = say_hello_and_wait(&scratch);
    drop(attached);
    occupant.assert_reclaimed(&scratch, &run.finish());
}

#[test]
fn a_segment_that_its_creator_removes_before_the_timeout_is_not_spoken_of() {
    let scratch = Scratch::new();
    let (occupant, creator) = Occupant::created_by_a_living_process(&scratch, 0o600, pattern(SIZE));
    let run = say_hello_and_wait(&scratch);
    remove_segment(occupant.segment.id);
    let finished = run.finish();
    finished.assert_delivered(12, "Hello, world");
    assert_eq!(finished.stderr, "");
    scratch.assert_nothing_left();
    drop(creator);
}

// Segments that are not ours to remove.

/// What is said of a creator that lives: which program has its PID now.
fn is_alive(creator: Pid) -> String {
    let program = fs::read_to_string(format!("/proc/{creator}/comm")).unwrap();
    let program = program.trim_end();
    format!("its creator is alive, or another process has its PID: PID {creator} ({program:?})")
}

#[test]
fn a_segment_whose_creator_is_alive_is_left_alone() {
    let scratch = Scratch::unchecked();
    let (occupant, creator) = Occupant::created_by_a_living_process(&scratch, 0o600, pattern(SIZE));
    occupant.assert_left_alone(&scratch, &say_hello_in_vain(&scratch), &is_alive(creator.0));
    drop(creator);
}

#[test]
fn a_segment_that_this_very_process_has_created_is_left_alone() {
    let again = |key: &Key| OwnedSegment::<u32>::create(key, Duration::from_millis(50));
    let forget: fn(OwnedSegment<u32>) -> Option<OwnedSegment<u32>> = |it| {
        mem::forget(it);
        None
    };
    // Nobody is attached: only that it has created it says that it may still need it.
    for (what, keep) in [("held", Some as fn(_) -> _), ("forgotten", forget)] {
        let scratch = Scratch::unchecked();
        let key = Key::from_path(&scratch.path(), 1).unwrap();
        let (first, reclaimed) = again(&key).unwrap();
        assert_eq!(reclaimed, None);
        let first = keep(first);
        let before = scratch.segments();
        let us = Pid::this();
        assert_eq!((before.len(), before[0].attached), (1, 0), "{what}");
        assert_eq!(before[0].creator_pid, us.as_raw());

        let occupied = again(&key).expect_err(what);
        assert!(matches!(occupied, Error::Occupied { may_pass: true, .. }));
        let said = occupied.to_string();
        assert!(said.contains(&is_alive(us)), "{what}: {said}");
        assert_eq!(scratch.segments(), before, "{what}");
        drop(first);
    }
}

#[test]
fn a_segment_whose_creator_lives_on_without_its_first_thread_is_left_alone() {
    extern "C" fn live_on(_: *mut libc::c_void) -> *mut libc::c_void {
        loop {
            // SAFETY: pause has no arguments and touches no memory.
            unsafe { libc::pause() };
        }
    }

    let scratch = Scratch::unchecked();
    let (key, bytes) = (scratch.key(), pattern(SIZE));
    // SAFETY: the child makes only system calls until it has a thread, and that thread only sleeps.
    let creator = match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => Helper(child),
        // SAFETY: `thread` has room for one, null attributes are the default, and `live_on` takes
        // no argument. The last call ends this thread alone, which has nothing to clean up.
        ForkResult::Child => unsafe {
            let mut thread = mem::zeroed();
            if create(key, 0o600, &bytes).is_err()
                || libc::pthread_create(
                    &raw mut thread,
                    std::ptr::null(),
                    live_on,
                    std::ptr::null_mut(),
                ) != 0
            {
                libc::_exit(1);
            }
            libc::syscall(libc::SYS_exit, 0);
            unreachable!("the thread has ended");
        },
    };
    wait_until("the first thread has ended", || state(creator.0) == Some('Z'));
    let threads = fs::read_dir(format!("/proc/{}/task", creator.0)).unwrap().count();
    assert_eq!(threads, 2, "the other thread lives");

    let occupant = Occupant::at_the_key_of(&scratch, bytes);
    assert_eq!(occupant.segment.creator_pid, creator.0.as_raw());
    occupant.assert_left_alone(&scratch, &say_hello_in_vain(&scratch), &is_alive(creator.0));
}

#[test]
fn a_segment_that_somebody_has_attached_is_left_alone_though_its_creator_is_dead() {
    let scratch = Scratch::unchecked();
    let occupant = Occupant::left_by_a_dead_process(&scratch, 0o600, pattern(SIZE));
    let id = occupant.segment.id;
    let attached = Helper::doing(|| attach(id, 0).map(drop)).expect("it can be attached");
    let occupant = occupant.noted_again(&scratch);
    assert_eq!(occupant.segment.attached, 1);
    occupant.assert_left_alone(&scratch, &say_hello_in_vain(&scratch), "it is attached");
    drop(attached);
}

#[test]
fn a_segment_that_is_smaller_is_left_alone() {
    let scratch = Scratch::unchecked();
    let occupant = Occupant::left_by_a_dead_process(&scratch, 0o600, pattern(512));
    let run = say_hello_and_fail_at_once(&scratch);
    occupant.assert_left_alone(&scratch, &run, "its size is not ours");
}

#[test]
fn a_segment_that_is_larger_is_left_alone() {
    let scratch = Scratch::unchecked();
    let occupant = Occupant::left_by_a_dead_process(&scratch, 0o600, pattern(2048));
    let run = say_hello_and_fail_at_once(&scratch);
    occupant.assert_left_alone(&scratch, &run, "its size is not ours");
}

#[test]
fn a_segment_that_we_created_and_somebody_else_owns_is_left_alone() {
    let scratch = Scratch::unchecked();
    let occupant = Occupant::left_by_a_dead_process(&scratch, 0o600, pattern(SIZE));
    let us = Uid::effective().as_raw();
    let somebody_else = us + 1;
    give_to(somebody_else, occupant.segment.id);
    let occupant = occupant.noted_again(&scratch);
    let Segment { owner, creator, .. } = occupant.segment;
    assert_eq!((owner, creator), (somebody_else, us));
    let run = say_hello_and_fail_at_once(&scratch);
    occupant.assert_left_alone(&scratch, &run, "it is another user's");
}

#[test]
fn a_segment_that_somebody_else_created_and_we_own_is_left_alone() {
    if !is_root("a segment that somebody else created and we own") {
        return;
    }
    let scratch = Scratch::unchecked();
    let occupant = Occupant::left_by_somebody_else(&scratch);
    give_to(0, occupant.segment.id);
    let occupant = occupant.noted_again(&scratch);
    assert_eq!((occupant.segment.owner, occupant.segment.creator), (0, SOMEBODY_ELSE));
    let run = say_hello_and_fail_at_once(&scratch);
    occupant.assert_left_alone(&scratch, &run, "it is another user's");
}

#[test]
fn a_segment_of_somebody_else_is_left_alone_even_by_root() {
    if !is_root("a segment of somebody else") {
        return;
    }
    let scratch = Scratch::unchecked();
    let occupant = Occupant::left_by_somebody_else(&scratch);
    assert_eq!((occupant.segment.owner, occupant.segment.creator), (SOMEBODY_ELSE, SOMEBODY_ELSE));
    let run = say_hello_and_fail_at_once(&scratch);
    occupant.assert_left_alone(&scratch, &run, "it is another user's");
}

#[test]
fn a_segment_that_we_may_not_even_ask_for_is_left_alone_and_still_named() {
    if !is_root("a segment of mode 0600, seen by another user") {
        return;
    }
    let scratch = Scratch::unchecked();
    let occupant = Occupant::left_by_a_dead_process(&scratch, 0o600, pattern(SIZE));
    assert_eq!((occupant.segment.owner, occupant.segment.creator), (0, 0));

    fs::set_permissions(scratch.path(), Permissions::from_mode(0o644)).unwrap();
    let mut command = Command::new(scratch.copy_for_anybody());
    command
        .uid(SOMEBODY_ELSE)
        .gid(SOMEBODY_ELSE)
        .env_remove("NO_COLOR")
        .args(["--timeout=1000", "--path"])
        .arg(scratch.path())
        .arg("Hello, world");
    let finished = run(&mut command);
    occupant.assert_left_alone(&scratch, &finished, "it is another user's");
}

// Segments that change between the write and the read.

/// The listener's steps from the signal to the read: it looks the segment up, asks whose it is, and
/// attaches it. Held at the beginning of each, everything may still change that the step relies on.
const STEPS: [libc::c_long; 3] = [LOOK_UP, ASK, ATTACH];
const LOOK_UP: libc::c_long = libc::SYS_shmget;
const ASK: libc::c_long = libc::SYS_shmctl;
const ATTACH: libc::c_long = libc::SYS_shmat;

/// A run that has written its message and sent the signal, and is held before the listener has read
/// it.
struct Held {
    run: Frozen,
    segment: Segment,
}

impl Held {
    /// Holds the run when the listener is about to take the step. `timeout` is the run's, in
    /// seconds.
    fn at(step: libc::c_long, scratch: &Scratch, timeout: &str) -> Self {
        let mut command = scratch.sigshm(["--timeout", timeout, "Hello, world"]);
        let run = freeze(&mut command, Point::Call(Side::Child, step))
            .unwrap_or_else(|run| panic!("the listener has not come to this step: {run:#?}"));
        let segment = Occupant::at_the_key_of(scratch, Vec::new()).segment;
        assert_eq!(segment.creator_pid, run.parent().as_raw());
        Self { run, segment }
    }

    /// Removes the run's segment and puts another into its place.
    fn replace(&self, scratch: &Scratch, content: Vec<u8>) -> Occupant {
        remove_segment(self.segment.id);
        Occupant::left_by_a_dead_process(scratch, 0o666, content)
    }

    /// Writes over what the run's segment holds.
    fn overwrite(&self, content: &[u8]) {
        let id = self.segment.id;
        assert!(Helper::doing(|| overwrite(id, content)).is_some(), "it can be attached");
    }

    /// Lets both processes go on, and waits for their end.
    fn let_go(self) -> Finished {
        self.run.release().finish(TIMEOUT)
    }
}

#[test]
fn a_listener_that_is_held_and_let_go_delivers() {
    for step in STEPS {
        let scratch = Scratch::new();
        let held = Held::at(step, &scratch, "30");
        let written = message(1, 12, b"Hello, world");
        assert!(holds(held.segment.id, &written), "the message is there");
        held.let_go().assert_delivered(12, "Hello, world");
    }
}

/// A run whose listener will find no message, so that the sender waits for it until the timeout.
struct InVain {
    run: Released,
    /// What the listener says of it.
    reason: &'static str,
}

impl InVain {
    /// Lets the run go on. Several can then wait side by side.
    fn let_go(held: Held, reason: &'static str) -> Self {
        let run = held.run.release();
        Self { run, reason }
    }

    /// The listener, which knows that its parent has sent the signal, says at once what it has found.
    fn assert_not_found(self) {
        let finished = self.run.finish(TIMEOUT);
        finished.assert_failed_with(&["sigshm: error: there is no message at ", self.reason]);
        assert_not_delivered(&finished);
    }
}

#[test]
fn a_segment_removed_before_the_listener_looks_is_an_error_at_once() {
    let scratch = Scratch::new();
    let held = Held::at(LOOK_UP, &scratch, "30");
    remove_segment(held.segment.id);
    InVain::let_go(held, "ENOENT); no segment is at this key").assert_not_found();
}

#[test]
fn a_segment_removed_while_the_listener_looks_is_still_the_one_it_found() {
    for step in [ASK, ATTACH] {
        let scratch = Scratch::new();
        let held = Held::at(step, &scratch, "30");
        remove_segment(held.segment.id);
        // The kernel keeps it for as long as the sender is attached, and does not give its
        // identifier to another.
        held.let_go().assert_delivered(12, "Hello, world");
    }
}

#[test]
fn a_segment_put_in_place_of_the_runs_own_is_neither_delivered_nor_touched() {
    let beyond = {
        let mut bytes = message(1, 7, b"hostile");
        bytes.resize(4 * SIZE, b'x');
        bytes
    };
    let replacements = [
        ("a message", message(1, 7, b"hostile")),
        ("a size just beyond the capacity", message(1, LONGEST_TEXT + 1, b"hostile")),
        ("a size far beyond the capacity", message(1, usize::MAX, b"hostile")),
        ("an unknown id", message(7, 7, b"hostile")),
        ("a text without a NUL", message(1, LONGEST_TEXT, &[b'x'; LONGEST_TEXT + 1])),
        ("a segment that is smaller", message(1, 7, b"hostile")[..32].to_vec()),
        ("a segment that is larger", beyond),
    ];
    let mut in_vain = Vec::new();
    for (what, content) in replacements {
        // It comes before the listener looks: it finds this one, which is not its parent's.
        let scratch = Scratch::unchecked();
        let held = Held::at(LOOK_UP, &scratch, "30");
        let (own, hostile) = (held.segment.id, held.replace(&scratch, content.clone()));
        let reason = match what {
            "a segment that is smaller" => "EINVAL); the segment at this key is smaller",
            _ => "our parent has not created it",
        };
        in_vain.push((InVain::let_go(held, reason), own, hostile, scratch));

        // It comes while the listener looks: it goes on with the segment that it has found.
        for step in [ASK, ATTACH] {
            let scratch = Scratch::unchecked();
            let held = Held::at(step, &scratch, "30");
            let (own, hostile) = (held.segment.id, held.replace(&scratch, content.clone()));
            println!("{what}, when the listener is at system call {step}");
            held.let_go().assert_delivered(12, "Hello, world");
            assert_alone(&hostile, &scratch, own);
        }
    }
    for (run, own, hostile, scratch) in in_vain {
        run.assert_not_found();
        assert_alone(&hostile, &scratch, own);
    }
}

/// The segment that somebody has put there is as it was, and the run's own is gone.
#[track_caller]
fn assert_alone(hostile: &Occupant, scratch: &Scratch, own: i32) {
    hostile.assert_untouched(scratch);
    let is_left = segments().iter().any(|segment| segment.id == own);
    assert!(!is_left, "the run's own segment is left");
}

/// Somebody writes `content` over the message in the run's own segment: the listener says what is
/// wrong with it.
fn assert_overwritten_fails_with(content: &[u8], cause: &str) {
    for step in STEPS {
        let scratch = Scratch::new();
        let held = Held::at(step, &scratch, "30");
        held.overwrite(content);
        let finished = held.let_go();
        finished.assert_failed_with(&["sigshm: error: ", "not a message", cause]);
        assert_not_delivered(&finished);
    }
}

#[test]
fn a_message_overwritten_with_a_size_beyond_the_capacity_is_an_error() {
    for size in [LONGEST_TEXT + 1, SIZE, usize::MAX - TEXT + 1, usize::MAX] {
        assert_overwritten_fails_with(
            &message(1, size, b"hostile"),
            &format!("its size is {size} bytes"),
        );
    }
}

#[test]
fn a_message_overwritten_with_an_unknown_id_is_an_error() {
    for id in [7, -1] {
        assert_overwritten_fails_with(&message(id, 7, b"hostile"), &format!("its id is {id},"));
    }
}

#[test]
fn a_message_overwritten_without_a_nul_is_an_error() {
    let text = [b'x'; LONGEST_TEXT + 1];
    for size in [0, 7, LONGEST_TEXT] {
        assert_overwritten_fails_with(&message(1, size, &text), "its text does not end in NUL");
    }
}

#[test]
fn a_message_wiped_out_before_the_read_is_an_error_at_once() {
    let runs = STEPS.map(|step| {
        let scratch = Scratch::new();
        let held = Held::at(step, &scratch, "30");
        held.overwrite(&[0; SIZE]);
        (InVain::let_go(held, "it holds no message"), scratch)
    });
    for (run, _scratch) in runs {
        run.assert_not_found();
    }
}
