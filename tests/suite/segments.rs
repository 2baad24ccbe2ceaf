//! Segments that are already at the key, and segments that change while the run uses them: an
//! abandoned one is reclaimed, one in use is waited for, any other is left as it is, and what is no
//! message of ours is never delivered.

use std::slice;

use nix::unistd::setuid;
use sigshm::sys::{Error, Key, OwnedSegment};

use crate::support::tracer::{Frozen, Point, Side, at_steps, freeze};
use crate::support::*;

/// The size of our segments, in bytes.
const SIZE: usize = 1024;

/// How long the text may be.
const LONGEST_TEXT: usize = SIZE - 2 * size_of::<usize>() - 1;

/// A user who is not root.
const SOMEBODY_ELSE: u32 = 65534;

fn us() -> u32 {
    Uid::effective().as_raw()
}

// Making segments, and looking at them.

/// Whether the segment holds exactly `expected`. Attaching it changes its status.
fn holds(id: i32, expected: &[u8]) -> bool {
    let compare = || match Attached::new(id, libc::SHM_RDONLY)?.bytes() == expected {
        true => Ok(()),
        false => Err(Errno::EINVAL),
    };
    Helper::doing(compare).is_ok()
}

/// Bytes that differ from place to place, so that a change anywhere is seen.
fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|index| (index * 7 + index / 256) as u8).collect()
}

/// A segment that was there before the run, as it was.
struct Occupant {
    segment: Segment,
    groups_and_times: String,
    content: Vec<u8>,
    /// The process that lives and has created it, or has attached it.
    keeper: Option<Helper>,
}

type Make = fn(&Scratch) -> Occupant;
type Change = fn(&mut Occupant);

impl Occupant {
    /// The one segment at the key, which somebody has just filled with `content`.
    fn at_the_key_of(scratch: &Scratch, content: Vec<u8>) -> Self {
        let [segment] = &scratch.segments()[..] else {
            panic!("there should be one segment: {:?}", scratch.segments());
        };
        let groups_and_times = groups_and_times(segment.id);
        Self { segment: segment.clone(), groups_and_times, content, keeper: None }
    }

    /// Created by a process of this user that lives. Only root can have another one's.
    fn created_by(user: u32, scratch: &Scratch, mode: i32, content: Vec<u8>) -> Self {
        let key = scratch.key();
        let create = || {
            setuid(Uid::from_raw(user))?;
            let id = create_segment(key, content.len(), mode)?;
            Attached::new(id, 0).map(|it| it.write(0, &content))
        };
        let creator = Helper::doing(create).expect("it is created");
        let occupant = Self::at_the_key_of(scratch, content);
        assert_eq!(occupant.segment.creator_pid, creator.0.as_raw());
        Self { keeper: Some(creator), ..occupant }
    }

    /// Created by a process of ours that lives.
    fn in_use(scratch: &Scratch) -> Self {
        Self::created_by(us(), scratch, 0o600, pattern(SIZE))
    }

    /// Attached by somebody, though its creator is dead.
    fn attached(scratch: &Scratch) -> Self {
        let Self { segment: Segment { id, .. }, content, .. } = Self::in_use(scratch).abandoned();
        let attach = || Attached::new(id, 0).map(mem::forget);
        let keeper = Helper::doing(attach).expect("it can be attached");
        let occupant = Self::at_the_key_of(scratch, content);
        assert_eq!(occupant.segment.attached, 1);
        Self { keeper: Some(keeper), ..occupant }
    }

    /// Its creator has ended since, and has been reaped.
    fn abandoned(mut self) -> Self {
        drop(self.keeper.take());
        assert!(is_gone(Pid::from_raw(self.segment.creator_pid)));
        self
    }

    /// It has another owner since, as its creator may decide; who created it stays as it was.
    fn given_to(self, owner: u32, scratch: &Scratch) -> Self {
        change_segment(self.segment.id, |it| it.uid = owner);
        Self::at_the_key_of(scratch, self.content)
    }

    fn keeper(&self) -> &Helper {
        self.keeper.as_ref().expect("somebody keeps it")
    }

    /// The run has failed, has said what stands in its way, and has left it as it was.
    #[track_caller]
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
    #[track_caller]
    fn assert_untouched(&self, scratch: &Scratch) {
        wait_until("no process is left", || scratch.processes().is_empty());
        // Its status comes first: looking at the content attaches the segment.
        assert_eq!(scratch.segments(), slice::from_ref(&self.segment), "its status has changed");
        assert_eq!(groups_and_times(self.segment.id), self.groups_and_times);
        assert!(holds(self.segment.id, &self.content), "its content has changed");
    }

    /// The run has delivered the message, and has said whose segment was in its way.
    #[track_caller]
    fn assert_reclaimed(&self, run: &Finished) {
        run.assert_delivered(12, HELLO);
        assert_eq!(run.stderr.lines().count(), 1, "{run:#?}");
        let Segment { id, creator_pid, .. } = self.segment;
        for part in ["reclaimed", &format!("segment {id} "), &format!("PID {creator_pid})")] {
            assert!(run.stderr.contains(part), "{part:?} is not in {:?}", run.stderr);
        }
    }
}

/// The other columns of the kernel's list, but for the two that say where its pages happen to be.
fn groups_and_times(id: i32) -> String {
    let it = segment_status(id).unwrap();
    let (gid, cgid) = (it.shm_perm.gid, it.shm_perm.cgid);
    format!("{gid} {cgid} {} {} {}", it.shm_atime, it.shm_dtime, it.shm_ctime)
}

fn say_hello(scratch: &Scratch) -> Finished {
    run(scratch.sigshm([HELLO]))
}

#[track_caller]
fn assert_not_delivered(run: &Finished) {
    assert!(!run.text().contains("Received:"), "{run:#?}");
    assert!(!run.text().contains("All done"), "{run:#?}");
}

// Abandoned segments.

#[test]
fn a_segment_left_by_a_dead_run_is_reclaimed() {
    let scratch = Scratch::new();
    let content = message_bytes(1, 3, b"old");
    let occupant = Occupant::created_by(us(), &scratch, 0o600, content).abandoned();
    occupant.assert_reclaimed(&say_hello(&scratch));
}

#[test]
fn a_segment_left_by_a_run_that_was_killed_is_reclaimed() {
    let scratch = Scratch::new();
    let (run, _) = hold_at(LOOK_UP, &scratch);
    kill(run.parent(), SIGKILL).unwrap();
    assert_eq!(let_go(run).signal, Some(libc::SIGKILL));

    let occupant = Occupant::at_the_key_of(&scratch, Vec::new());
    occupant.assert_reclaimed(&say_hello(&scratch));
}

#[test]
fn a_segment_whose_creator_is_dead_but_not_reaped_is_reclaimed() {
    let scratch = Scratch::new();
    let occupant = Occupant::in_use(&scratch);
    let creator = occupant.keeper();
    creator.kill();
    wait_until("the creator is a zombie", || state(creator.0) == Some('Z'));
    let run = say_hello(&scratch);
    assert_eq!(state(creator.0), Some('Z'), "it was a zombie all the time");
    occupant.assert_reclaimed(&run);
}

#[test]
fn the_segment_that_the_articles_program_leaves_behind_is_reclaimed() {
    let scratch = Scratch::new();
    // The message names the folder, by which the program's child can be found should it not end.
    let mut article = Command::new(compile_peer("article"));
    article.arg(scratch.dir()).current_dir(scratch.dir());
    let article = Program::start(article);
    let pid = article.pid();
    assert_eq!(article.finish().code, Some(0));
    wait_until("its child has ended", || scratch.processes().is_empty());

    let occupant = Occupant::at_the_key_of(&scratch, Vec::new());
    let Segment { mode, size, creator_pid, .. } = occupant.segment;
    assert_eq!((mode & 0o777, size, creator_pid), (0o666, SIZE, pid.as_raw()));
    occupant.assert_reclaimed(&say_hello(&scratch));
}

#[test]
fn a_segment_left_by_a_run_whose_pid_the_new_run_has_got_is_reclaimed() {
    let scratch = Scratch::new();
    let content = message_bytes(1, 3, b"old");
    let occupant = Occupant::created_by(us(), &scratch, 0o600, content).abandoned();
    let pid = occupant.segment.creator_pid;
    let mut command = scratch.sigshm([HELLO]);
    let captured = Captured::of(&mut command);
    match command.in_child(move || go_on_as(pid)).spawn() {
        Ok(mut first) => first.wait().unwrap(),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
            let what = "a segment left by a run whose PID the new run has got";
            return not_tested(what, "no process can be given a PID here (clone3)");
        }
        Err(error) => panic!("{error}"),
    };
    let end = waitpid(Pid::from_raw(pid), None).unwrap();
    let WaitStatus::Exited(_, code) = end else { panic!("the run was killed: {end:?}") };
    let (stdout, stderr) = (captured.stdout(), captured.stderr());
    occupant.assert_reclaimed(&Finished { stdout, stderr, code: Some(code), signal: None });
}

/// Goes on in a new process that has this PID, a child of the test too; see clone(2), `set_tid`.
/// The old one ends.
fn go_on_as(pid: i32) -> nix::Result<()> {
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
/// there. It must be at seven steps or more that the run is about to look, or has looked.
fn change_at_every_step(change: impl Fn(&Scratch, &Segment) + Sync) {
    let command = |scratch: &Scratch| {
        leave_behind(scratch);
        scratch.sigshm(["--timeout=60", HELLO])
    };
    let has_looked = at_steps(Side::Parent, 0.., command, |_, scratch, frozen| {
        let left =
            scratch.segments().into_iter().find(|it| it.creator_pid != frozen.parent().as_raw());
        // Having said what it writes, it asks for the segment.
        let has_looked = left.is_some() && frozen.printed().contains("text:");
        if let Some(left) = left {
            change(&scratch, &left);
        }
        let finished = frozen.release().finish(TIMEOUT);
        finished.assert_delivered(12, HELLO);
        let mut notes = finished.stderr.lines();
        assert!(notes.all(|it| it.starts_with("sigshm: reclaimed segment ")));
        has_looked
    });
    assert!(has_looked.len() > 60, "{has_looked:?}");
    // It cannot create its own, finds this one, looks at it, and is about to remove it: each is a
    // call, with an entry and, but for the last, an exit.
    let looked = has_looked.iter().filter(|&&it| it).count();
    assert!(looked >= 7, "{looked}");
}

#[test]
fn a_left_segment_that_somebody_else_removes_at_any_step_of_the_run_is_no_hindrance() {
    change_at_every_step(|_, left| remove_segment(left.id));
}

#[test]
fn a_left_segment_that_another_one_replaces_at_any_step_of_the_run_is_no_hindrance() {
    change_at_every_step(|scratch, left| {
        remove_segment(left.id);
        leave_behind(scratch);
    });
}

// Segments that are in use are waited for.

#[test]
fn a_segment_that_is_in_use_no_longer_before_the_timeout_is_reclaimed_then() {
    const REMOVED: &str = "its creator removes it, and it is not spoken of";
    let rows: [(&str, Make, Change); 4] = [
        ("its creator ends", Occupant::in_use, |it| drop(it.keeper.take())),
        ("its creator becomes a zombie", Occupant::in_use, |it| it.keeper().kill()),
        ("it is detached", Occupant::attached, |it| drop(it.keeper.take())),
        (REMOVED, Occupant::in_use, |it| remove_segment(it.segment.id)),
    ];
    for (what, occupant, end_use) in rows {
        println!("{what}");
        let scratch = Scratch::new();
        let mut occupant = occupant(&scratch);
        let run = Program::start(scratch.sigshm(["--timeout=60", HELLO]));
        run.until_printed("text:Hello, world.");
        wait_until("it sleeps between two looks", || state(run.pid()) == Some('S'));
        end_use(&mut occupant);
        let finished = run.finish();
        let is_there = |it: &Helper| matches!(state(it.0), Some('Z' | 'T'));
        assert!(occupant.keeper.as_ref().is_none_or(is_there), "nobody has reaped it");
        if what == REMOVED {
            finished.assert_delivered(12, HELLO);
            assert_eq!(finished.stderr, "");
        } else {
            occupant.assert_reclaimed(&finished);
        }
    }
}

// Segments that are not ours to remove.

/// What is said of a creator that lives: which program has its PID now.
fn is_alive(creator: Pid) -> String {
    let program = fs::read_to_string(format!("/proc/{creator}/comm")).unwrap();
    let program = program.trim_end();
    format!("its creator is alive, or another process has its PID: PID {creator} ({program:?})")
}

#[test]
fn a_segment_that_is_in_use_until_the_timeout_is_left_alone() {
    let rows: [(&str, Make); 3] = [
        ("its creator is alive", Occupant::in_use),
        ("its creator lives on without its first thread", created_by_a_thread_that_lives_on),
        ("somebody has attached it, though its creator is dead", Occupant::attached),
    ];
    at_once(rows, |(what, occupant)| {
        println!("{what}");
        let scratch = Scratch::unchecked();
        let occupant = occupant(&scratch);
        let begun = Instant::now();
        let finished = run(scratch.sigshm(["--timeout=0.3", HELLO]));
        assert!(begun.elapsed() >= Duration::from_millis(300), "{finished:#?}");
        let reason = match occupant.segment.attached {
            0 => is_alive(occupant.keeper().0),
            _ => "it is attached".to_owned(),
        };
        occupant.assert_left_alone(&scratch, &finished, &reason);
    });
}

/// The process that has created it lives on, but the thread that has does not.
fn created_by_a_thread_that_lives_on(scratch: &Scratch) -> Occupant {
    let (key, content) = (scratch.key(), pattern(SIZE));
    let creator = Helper::start(|| {
        let id = create_segment(key, SIZE, 0o600)?;
        Attached::new(id, 0).map(|it| it.write(0, &content))?;
        thread::spawn(|| {
            loop {
                thread::park();
            }
        });
        // SAFETY: this ends one thread, which has nothing to clean up.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
        nix::Result::Ok(())
    });
    wait_until("the first thread has ended", || state(creator.0) == Some('Z'));
    let threads = fs::read_dir(format!("/proc/{}/task", creator.0)).unwrap().count();
    assert_eq!(threads, 2, "the other thread lives");
    let occupant = Occupant::at_the_key_of(scratch, content);
    assert_eq!(occupant.segment.creator_pid, creator.0.as_raw());
    Occupant { keeper: Some(creator), ..occupant }
}

#[test]
fn a_segment_that_this_very_process_has_created_is_left_alone() {
    let again = |key: &Key| OwnedSegment::<u32>::create(key, Duration::from_millis(50));
    // Nobody is attached: only that it has created it says that it may still need it.
    for is_forgotten in [false, true] {
        let scratch = Scratch::unchecked();
        let key = Key::from_path(&scratch.path(), 1).unwrap();
        let (first, reclaimed) = again(&key).unwrap();
        assert_eq!(reclaimed, None);
        let mut first = Some(first);
        if is_forgotten {
            mem::forget(first.take());
        }
        let (before, us) = (scratch.segments(), Pid::this());
        assert_eq!((before.len(), before[0].attached), (1, 0));
        assert_eq!(before[0].creator_pid, us.as_raw());

        let occupied = again(&key).expect_err("it is occupied");
        assert!(matches!(occupied, Error::Occupied { may_pass: true, .. }));
        let said = occupied.to_string();
        assert!(said.contains(&is_alive(us)), "forgotten: {is_forgotten}: {said}");
        assert_eq!(scratch.segments(), before, "forgotten: {is_forgotten}");
    }
}

#[test]
fn a_segment_that_is_not_ours_is_left_alone_at_once() {
    const NOT_OUR_SIZE: &str = "its size is not ours";
    const NOT_OURS: &str = "it is another user's";
    let us = us();
    // Its size, who has created it, who owns it, and who comes upon it.
    for (what, size, creator, owner, comer, reason) in [
        ("that is smaller", 512, us, us, us, NOT_OUR_SIZE),
        ("that is larger", 2048, us, us, us, NOT_OUR_SIZE),
        ("that we created and somebody else owns", SIZE, us, us + 1, us, NOT_OURS),
        ("that somebody else created and we own", SIZE, SOMEBODY_ELSE, us, us, NOT_OURS),
        ("of somebody else, even by root", SIZE, SOMEBODY_ELSE, SOMEBODY_ELSE, us, NOT_OURS),
        ("that we may not even ask for, and still named", SIZE, us, us, SOMEBODY_ELSE, NOT_OURS),
    ] {
        if (creator, comer) != (us, us) && us != 0 {
            not_tested(&format!("a segment {what}"), "it needs root");
            continue;
        }
        println!("{what}");
        let scratch = Scratch::unchecked();
        let mode = if creator == us { 0o600 } else { 0o666 };
        let occupant = Occupant::created_by(creator, &scratch, mode, pattern(size)).abandoned();
        let occupant = occupant.given_to(owner, &scratch);
        assert_eq!((occupant.segment.owner, occupant.segment.creator), (owner, creator));

        // It does not wait for its timeout, which is longer than a test may take.
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o644)).unwrap();
        let finished = run(scratch.sigshm_as(comer, &["--timeout=1000", HELLO]));
        occupant.assert_left_alone(&scratch, &finished, reason);
    }
}

// Segments that change between the write and the read.

/// The listener's steps from the signal to the read: it looks the segment up, asks whose it is, and
/// attaches it. Held at the beginning of each, everything may still change that the step relies on.
const STEPS: [libc::c_long; 3] = [LOOK_UP, ASK, ATTACH];
const LOOK_UP: libc::c_long = libc::SYS_shmget;
const ASK: libc::c_long = libc::SYS_shmctl;
const ATTACH: libc::c_long = libc::SYS_shmat;

/// A run that has written its message and sent the signal, and is held when the listener is about to
/// take the step; and the segment. Its timeout is longer than a test may take.
#[track_caller]
fn hold_at(step: libc::c_long, scratch: &Scratch) -> (Frozen, i32) {
    let mut command = scratch.sigshm(["--timeout=1000", HELLO]);
    let run = freeze(&mut command, Point::Call(Side::Child, step))
        .unwrap_or_else(|run| panic!("the listener has not come to this step: {run:#?}"));
    let Segment { id, creator_pid, .. } = Occupant::at_the_key_of(scratch, Vec::new()).segment;
    assert_eq!(creator_pid, run.parent().as_raw());
    (run, id)
}

/// Lets both processes go on, and waits for their end.
#[track_caller]
fn let_go(run: Frozen) -> Finished {
    run.release().finish(TIMEOUT)
}

/// As [`let_go`]. The listener, which knows that its parent has sent the signal, says at once what
/// it has found instead of a message.
#[track_caller]
fn assert_fails_with(error: &str, reason: &str, run: Frozen) {
    let finished = let_go(run);
    finished.assert_failed_with(&["sigshm: error: ", error, reason]);
    assert_not_delivered(&finished);
}

const NO_MESSAGE: &str = "sigshm: error: there is no message at ";

#[test]
fn a_listener_that_is_held_and_let_go_delivers() {
    for step in STEPS {
        let scratch = Scratch::new();
        let (run, id) = hold_at(step, &scratch);
        let written = message_bytes(1, 12, b"Hello, world");
        assert!(holds(id, &written), "the message is there");
        let_go(run).assert_delivered(12, HELLO);
    }
}

#[test]
fn a_removed_segment_is_an_error_at_once_unless_the_listener_has_found_it_before() {
    for step in STEPS {
        let scratch = Scratch::new();
        let (run, id) = hold_at(step, &scratch);
        remove_segment(id);
        if step == LOOK_UP {
            assert_fails_with(NO_MESSAGE, "ENOENT); no segment is at this key", run);
        } else {
            // The kernel keeps it for as long as the sender is attached, and does not give its
            // identifier to another.
            let_go(run).assert_delivered(12, HELLO);
        }
    }
}

#[test]
fn a_segment_put_in_place_of_the_runs_own_is_neither_delivered_nor_touched() {
    let hostile = message_bytes(1, 7, b"hostile");
    let larger = [&hostile[..], &[b'x'; 3 * SIZE]].concat();
    let without_nul = message_bytes(1, LONGEST_TEXT, &[b'x'; LONGEST_TEXT + 1]);
    let (not_ours, smaller) =
        ("our parent has not created it", "EINVAL); the segment at this key is smaller");
    for (what, content, reason) in [
        ("a message", hostile.clone(), not_ours),
        ("just beyond the capacity", message_bytes(1, LONGEST_TEXT + 1, b"hostile"), not_ours),
        ("far beyond the capacity", message_bytes(1, usize::MAX, b"hostile"), not_ours),
        ("an unknown id", message_bytes(7, 7, b"hostile"), not_ours),
        ("a text without a NUL", without_nul, not_ours),
        ("a segment that is smaller", hostile[..32].to_vec(), smaller),
        ("a segment that is larger", larger, not_ours),
    ] {
        for step in STEPS {
            println!("{what}, when the listener is at system call {step}");
            let scratch = Scratch::unchecked();
            let (run, id) = hold_at(step, &scratch);
            remove_segment(id);
            let hostile = Occupant::created_by(us(), &scratch, 0o666, content.clone()).abandoned();
            if step == LOOK_UP {
                // It finds this one, which is not its parent's.
                assert_fails_with(NO_MESSAGE, reason, run);
            } else {
                // It goes on with the segment that it has found.
                let_go(run).assert_delivered(12, HELLO);
            }
            hostile.assert_untouched(&scratch);
            let is_left = segments().iter().any(|segment| segment.id == id);
            assert!(!is_left, "the run's own segment is left");
        }
    }
}

#[test]
fn a_message_that_somebody_overwrites_before_the_read_is_an_error_at_once() {
    let full = [b'x'; LONGEST_TEXT + 1];
    let mut rows = vec![(NO_MESSAGE, "it holds no message".to_owned(), vec![0; SIZE])];
    let mut is_no_message = |cause, bytes| rows.push(("not a message", cause, bytes));
    for size in [LONGEST_TEXT + 1, SIZE, usize::MAX - (SIZE - full.len()) + 1, usize::MAX] {
        let cause = format!("its size is {size} bytes");
        is_no_message(cause, message_bytes(1, size, b"hostile"));
    }
    for id in [7, -1] {
        is_no_message(format!("its id is {id},"), message_bytes(id, 7, b"hostile"));
    }
    for size in [0, 7, LONGEST_TEXT] {
        let cause = "its text does not end in NUL".to_owned();
        is_no_message(cause, message_bytes(1, size, &full));
    }
    for (error, cause, bytes) in &rows {
        for step in STEPS {
            println!("{cause}, when the listener is at system call {step}");
            let scratch = Scratch::new();
            let (run, id) = hold_at(step, &scratch);
            let overwrite = || Attached::new(id, 0).map(|it| it.write(0, bytes));
            Helper::doing(overwrite).expect("it can be attached");
            assert_fails_with(error, cause, run);
        }
    }
}
