//! Segments that are already at the key: an abandoned one is reclaimed, one in use is waited for,
//! any other is left as it is.

use std::slice;

use nix::unistd::setuid;
use sigshm::sys::{Error, Key, OwnedSegment};

use crate::support::*;

/// The size of our segments, in bytes.
pub const SIZE: usize = 1024;

/// A user who is not root.
const SOMEBODY_ELSE: u32 = 65534;

pub fn us() -> u32 {
    Uid::effective().as_raw()
}

// Making segments, and looking at them.

/// Whether the segment holds exactly `expected`. Attaching it changes its status.
pub fn holds(id: i32, expected: &[u8]) -> bool {
    let compare = || match Attached::new(id, SHM_RDONLY)?.bytes() == expected {
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
pub struct Occupant {
    pub segment: Segment,
    groups_and_times: String,
    content: Vec<u8>,
    /// The process that lives and has created it, or has attached it.
    keeper: Option<Helper>,
}

type Make = fn(&Scratch) -> Occupant;
type Change = fn(&mut Occupant);

impl Occupant {
    /// The one segment at the key, which somebody has just filled with `content`.
    pub fn at_the_key_of(scratch: &Scratch, content: Vec<u8>) -> Self {
        let [segment] = &scratch.segments()[..] else {
            panic!("there should be one segment: {:?}", scratch.segments());
        };
        let groups_and_times = groups_and_times(segment.id);
        Self { segment: segment.clone(), groups_and_times, content, keeper: None }
    }

    /// Created by a process of this user that lives. Only root can have another one's.
    pub fn created_by(user: u32, scratch: &Scratch, mode: i32, content: Vec<u8>) -> Self {
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
    pub fn abandoned(mut self) -> Self {
        drop(self.keeper.take());
        assert!(is_gone(Pid::from_raw(self.segment.creator_pid)));
        self
    }

    /// It has another owner since, as its creator may decide; who created it stays as it was.
    fn given_to(self, owner: u32, scratch: &Scratch) -> Self {
        change_segment(&self.segment, self.segment.mode as u16 & 0o777, owner);
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
    pub fn assert_untouched(&self, scratch: &Scratch) {
        wait_until("no process is left", || scratch.processes().is_empty());
        // Its status comes first: looking at the content attaches the segment.
        assert_eq!(scratch.segments(), slice::from_ref(&self.segment), "its status has changed");
        assert_eq!(groups_and_times(self.segment.id), self.groups_and_times);
        assert!(holds(self.segment.id, &self.content), "its content has changed");
    }

    /// The run has delivered the message, and has said whose segment was in its way.
    #[track_caller]
    pub fn assert_reclaimed(&self, run: &Finished) {
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
    let (attached, detached, changed) = (it.shm_atime, it.shm_dtime, it.shm_ctime);
    format!("{gid} {cgid} {attached} {detached} {changed}")
}

pub fn say_hello(scratch: &Scratch) -> Finished {
    run(scratch.sigshm([HELLO]))
}

#[track_caller]
pub fn assert_not_delivered(run: &Finished) {
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
fn a_segment_whose_creator_is_dead_but_not_reaped_is_reclaimed() {
    needs!(needs_linux("a creator that is a zombie"));
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
    needs!(compiles_c());
    let scratch = Scratch::new();
    // The message names the folder, by which the program's child can be found should it not end.
    let mut article = Command::new(compile_peer("article"));
    with_default_signals(article.arg(scratch.dir()).current_dir(scratch.dir()));
    let article = Program::start(article);
    let pid = article.pid();
    assert_eq!(article.finish().code, Some(0));
    wait_until("its child has ended", || scratch.processes().is_empty());

    let occupant = Occupant::at_the_key_of(&scratch, Vec::new());
    let Segment { mode, size, creator_pid, .. } = occupant.segment;
    assert_eq!((mode & 0o777, size, creator_pid), (0o666, SIZE, pid.as_raw()));
    occupant.assert_reclaimed(&say_hello(&scratch));
}

// Segments that are in use are waited for.

#[test]
fn a_segment_that_is_in_use_no_longer_before_the_timeout_is_reclaimed_then() {
    const ZOMBIE: &str = "its creator becomes a zombie";
    const REMOVED: &str = "its creator removes it, and it is not spoken of";
    let rows: [(&str, Make, Change); 4] = [
        ("its creator ends", Occupant::in_use, |it| drop(it.keeper.take())),
        (ZOMBIE, Occupant::in_use, |it| it.keeper().kill()),
        ("it is detached", Occupant::attached, |it| drop(it.keeper.take())),
        (REMOVED, Occupant::in_use, |it| remove_segment(it.segment.id)),
    ];
    for (what, occupant, end_use) in rows {
        println!("{what}");
        if what == ZOMBIE && !needs_linux(what) {
            continue;
        }
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

/// What is said of a creator that lives.
fn is_alive(creator: Pid) -> String {
    format!("a process has the PID of its creator: {}", described(creator))
}

#[test]
fn a_segment_that_is_in_use_until_the_timeout_is_left_alone() {
    let rows: &[(&str, Make)] = &[
        ("its creator is alive", Occupant::in_use),
        #[cfg(target_os = "linux")]
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
#[cfg(target_os = "linux")]
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
        if what.contains("may not even ask for") && !needs_linux(what) {
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
