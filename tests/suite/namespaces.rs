//! Where a PID is not what it seems: in PID namespaces, under the `/proc` of another one, in an IPC
//! namespace that outlives its processes, and when a sender has ended already.

use crate::support::namespaces::unshared;
use crate::support::told::*;
use crate::support::*;
use std::os::unix::fs::symlink;
use std::panic::Location;

const PID: &str = "-p -f --kill-child";
/// With the `/proc` that belongs to it.
const PID_AND_PROC: &str = "-p -f --mount-proc --kill-child";

/// Runs a shell script in new namespaces: `options` are unshare(1)'s. In it, `$S` is the program
/// with this folder's path, and the status 77 says that something may not be done, such as to choose
/// a PID. `None`, and a word about it, if that is so, and where there are no namespaces.
#[track_caller]
fn run_in(options: &str, scratch: &Scratch, script: &str) -> Option<Finished> {
    let mut command = unshared(options, "true")?;
    if script.contains("python3") && !is_there("python3") {
        return None;
    }
    // A folder's name may have a space, which would be two words of the script.
    let _ = symlink(program(), scratch.dir().join("sigshm"));
    command.args(["sh", "-c", script]).current_dir(scratch.dir());
    command.env("S", "./sigshm --color=never --path shared_path");
    let finished = run(command.env("KEY", scratch.key().to_string()));
    if finished.code == Some(77) {
        let why = finished.stderr.lines().last().unwrap_or("a PID may not be chosen");
        not_tested(&format!("unshare {options}, for {}", Location::caller()), why);
        return None;
    }
    Some(finished)
}

/// In the script: waits until a listener, whose output is in this file, has its handler.
const READY: &str = "until grep -qs Registering listener; do sleep .02; done;";

/// In the script: a Python program that creates a segment of 1024 bytes at the key, with the message
/// "stale" in it, and then does what follows.
const CREATE: &str = "python3 -c 'if True:
    import ctypes, os, sys, time
    libc = ctypes.CDLL(None)
    libc.shmat.restype = ctypes.c_void_p
    id = libc.shmget(int(os.environ[\"KEY\"]), 1024, 0o3600)
    address = libc.shmat(id, None, 0)
    ctypes.memmove(address, b\"\\1\\0\\0\\0\\0\\0\\0\\0\\5\\0\\0\\0\\0\\0\\0\\0stale\", 21)
    libc.shmdt(ctypes.c_void_p(address))
    open(\"created\", \"w\").close()
    time.sleep(float(sys.argv[1]))
' ";

#[test]
fn under_the_proc_of_another_pid_namespace_a_sender_refuses_and_signals_nobody() {
    let scratch = Scratch::new();
    // A process with a handler, and one that SIGUSR1 would kill: neither is known for what it is.
    let script = format!(
        "$S --listen > listener 2>&1 & L=$!; sleep 60 & V=$!; {READY}
         $S --to $L hello; echo $?; $S --to $V hello; echo $?
         kill -0 $L && kill -0 $V && cat listener; kill $L $V"
    );
    let Some(finished) = run_in(PID, &scratch, &script) else { return };
    let expected = "1\n1\n# Listening on PID=2\n# Registering signal handler for SIGUSR1\n";
    assert_eq!(finished.text(), expected, "{finished:#?}");
    let refusals: Vec<&str> = finished.stderr.lines().collect();
    assert_eq!(refusals.len(), 2, "{finished:#?}");
    for (refusal, pid) in refusals.iter().zip([2, 3]) {
        let start = format!("sigshm: error: nobody can tell whether PID {pid} has a handler");
        assert!(refusal.starts_with(&start), "{refusal}");
    }
}

/// In the script: a Python program that starts a program with the same PID in both namespaces; see
/// clone(2), `set_tid`. It fails with the status 77 if that may not be.
const WITH_THE_SAME_PID: &str = "python3 -c 'if True:
    import ctypes, os, subprocess, sys
    pid = int(subprocess.getoutput(\"readlink /proc/self\"))
    pids = (ctypes.c_int * 2)(pid, pid)
    address = ctypes.addressof(pids)
    arguments = (ctypes.c_uint64 * 11)(0, 0, 0, 0, 17, 0, 0, 0, address, 2)
    made = ctypes.CDLL(None).syscall(435, ctypes.byref(arguments), 88)
    if made == 0:
        os.execv(sys.argv[1], sys.argv[1:])
    sys.exit(77 if made < 0 else os.waitpid(made, 0)[1] >> 8)
' ";

#[test]
fn the_proc_of_another_pid_namespace_is_known_by_its_pids_even_if_ours_is_the_same_there() {
    let scratch = Scratch::new();
    let script = format!("{WITH_THE_SAME_PID} $S --to 1 hello; exit $?");
    let Some(finished) = run_in(PID, &scratch, &script) else { return };
    finished.assert_failed_with(&["nobody can tell", "there is no /proc of this PID namespace"]);
}

#[test]
fn under_the_proc_of_its_own_pid_namespace_a_sender_delivers() {
    let scratch = Scratch::new();
    let script = format!("$S --listen > listener & {READY} $S --to $! hello; wait; cat listener");
    let Some(finished) = run_in(PID_AND_PROC, &scratch, &script) else { return };
    let expected = plain(&(sent(5, "hello") + &received(Pid::from_raw(2), "hello")));
    assert_eq!((finished.text(), finished.stderr.as_str()), (&*expected, ""));
}

#[test]
fn a_living_creator_is_no_zombie_because_one_of_that_pid_is_elsewhere() {
    let scratch = Scratch::new();
    // Out here a zombie; in there, a process of the same number, which has created the segment.
    let zombie = Program::start(Command::new("true"));
    let pid = zombie.pid();
    wait_until("it has ended", || state(pid) == Some('Z'));
    let script = format!(
        "echo {} > /proc/sys/kernel/ns_last_pid || exit 77
         {CREATE} 60 & C=$!; until test -e created; do sleep .02; done
         $S --timeout .2 hi; echo $? $C; kill $C",
        pid.as_raw() - 1
    );
    let Some(finished) = run_in(PID, &scratch, &script) else { return };
    assert!(finished.text().ends_with(&format!("\n1 {pid}\n")), "{finished:#?}");
    // Its program is not named: out there, that of the same PID is another one.
    let said = format!("a process has the PID of its creator: PID {pid}; ");
    assert!(finished.stderr.contains(&said), "{finished:#?}");
    // It was not removed.
    remove_segment(scratch.segment().id);
    drop(zombie);
}

#[test]
fn a_process_that_has_got_the_listeners_pid_at_a_stop_is_not_signalled() {
    let scratch = Scratch::new();
    let script = format!(
        "skip() {{ kill $T; wait $T; exit 77; }}
         $S --listen > listener 2>&1 & L=$!; {READY} mkfifo in
         $S --step --to $L hi < in > sender & T=$!; exec 3> in; echo >&3; echo >&3; echo >&3
         until grep -qs 'the sender sends' sender; do sleep .02; done
         kill -KILL $L; wait $L; echo $((L - 1)) > /proc/sys/kernel/ns_last_pid || skip
         sleep 60 & [ $! = $L ] || skip
         echo >&3; wait $T; echo $?; kill -0 $L && echo alive; kill $L"
    );
    let Some(finished) = run_in(PID_AND_PROC, &scratch, &script) else { return };
    assert_eq!(finished.text(), "1\nalive\n", "{finished:#?}");
    finished.stderr.lines().find(|it| it.contains("has no handler for SIGUSR1")).unwrap();
}

#[test]
fn a_segment_left_by_a_run_whose_pid_the_new_run_has_got_is_reclaimed() {
    let scratch = Scratch::new();
    // At its seventh stop there is a segment.
    let script = "mkfifo in; $S --step hi < in > left & L=$!
         exec 3> in; yes '' | head -n 6 >&3
         until grep -qs 'the sender sends' left; do sleep .02; done
         kill -KILL $L; wait $L; echo $((L - 1)) > /proc/sys/kernel/ns_last_pid || exit 77
         sh -c '[ $$ = $0 ] && exec $S hi || exit 77' $L && echo $L";
    let options = format!("-i {PID_AND_PROC}");
    let Some(finished) = run_in(&options, &scratch, script) else { return };
    let (printed, pid) = finished.text().trim_end().rsplit_once('\n').unwrap();
    assert_eq!(format!("{printed}\n"), plain(&transcript(listener_in(printed), 2, "hi")));
    for part in ["sigshm: reclaimed segment ", &format!(" in PID {pid}), which was left behind\n")]
    {
        assert!(finished.stderr.contains(part), "{finished:#?}");
    }
}

#[test]
fn a_listener_in_another_ipc_namespace_is_refused_and_hears_of_nothing() {
    let scratch = Scratch::new();
    let script = format!(
        "$S --listen > listener & {READY} unshare -i $S --to $! hello; echo $? $!
         $S --to $! hello; wait; cat listener"
    );
    let Some(finished) = run_in("-i", &scratch, &script) else { return };
    let (refused, delivered) = finished.text().split_once('\n').unwrap();
    let pid = refused.strip_prefix("1 ").expect("it fails, and nothing has begun");
    let error = format!("sigshm: error: PID {pid} (\"sigshm\") is in another IPC namespace");
    assert!(finished.stderr.starts_with(&error), "{finished:#?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:#?}");
    let listener = Pid::from_raw(pid.parse().unwrap());
    assert_eq!(delivered, plain(&(sent(5, "hello") + &received(listener, "hello"))));
}

#[test]
fn a_sender_that_is_pid_1_does_not_take_itself_for_the_listener() {
    let scratch = Scratch::new();
    let Some(finished) = run_in(PID_AND_PROC, &scratch, "exec $S --to 1 hi") else { return };
    finished.assert_failed_with(&["PID 1 is this process itself", "start a listener"]);
    assert_eq!(finished.text(), "");
}

#[test]
fn in_another_pid_namespace_a_stop_suggests_no_numbers_that_are_wrong_elsewhere() {
    let scratch = Scratch::new();
    // The run's child is the first process of a new namespace.
    let script = "mkfifo in; yes '' > in & exec unshare -p $S --step hi < in";
    let Some(finished) = run_in("-m", &scratch, script) else { return };
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(listener_in(finished.text()), 1);
    let suggestions: Vec<_> = finished.text().lines().filter(|it| it.contains("  $ ")).collect();
    assert!(suggestions.len() >= 5, "{suggestions:?}");
    for suggestion in suggestions {
        let mut words = suggestion.split(|it: char| !it.is_ascii_alphanumeric());
        assert!(!words.any(|word| ["0", "1"].contains(&word)), "{suggestion}");
    }
}

#[test]
fn where_user_ids_do_not_tell_a_segment_that_others_may_read_is_another_users() {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.dir(), Permissions::from_mode(0o777)).unwrap();
    // In a user namespace without a map, everybody is nobody.
    let create = CREATE.replace("sys, time", "sys, time; os.setuid(65534)");
    let create = create.replace("0o3600", "0o3666");
    let script = format!(
        "python3 -c 'import os; os.setuid(65534)' || exit 77
         unshare -U $S --listen > listener 2>&1 & L=$!; {READY}
         {create} 60 & C=$!
         until test -e created; do sleep .02; done; kill -USR1 $L
         until grep -qs still listener; do sleep .02; done; cat listener; kill $L $C
         ipcrm --all=shm"
    );
    let Some(finished) = run_in(&format!("-i {PID_AND_PROC}"), &scratch, &script) else { return };
    let text = finished.text();
    assert!(text.contains("it is another user's: still listening"), "{finished:#?}");
    assert!(!text.contains("Received"), "{finished:#?}");
}

#[test]
fn where_nobody_else_has_an_id_what_this_user_has_left_is_reclaimed_though_others_may_read_it() {
    let scratch = Scratch::new();
    let script = CREATE.replace("0o3600", "0o3644") + "0; $S hi";
    let options = format!("--map-root-user -i {PID_AND_PROC}");
    let Some(finished) = run_in(&options, &scratch, &script) else { return };
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(finished.stderr.contains("reclaimed"), "{finished:#?}");
}

#[test]
fn a_demo_whose_child_is_in_another_pid_namespace_delivers() {
    let scratch = Scratch::new();
    for option in ["", "--explain"] {
        let script = format!("exec $S {option} hi");
        // Without -f, this process stays in its namespace, and its child is the first of a new one.
        let Some(finished) = run_in("-p", &scratch, &script) else { return };
        assert_eq!(without_explanations(finished.text()), plain(&transcript(1, 2, "hi")));
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    }
}

#[test]
fn what_was_left_by_a_process_that_cannot_be_seen_is_neither_delivered_nor_reclaimed() {
    needs!(unshared(PID_AND_PROC, "true").is_some());
    let scratch = Scratch::new();
    // The IPC namespace is that of the outer shell. The creator's PID namespace is gone, and the run
    // is in another one.
    let inner = format!(
        "$S --listen > listener 2>&1 & {READY} kill -USR1 $!
         until grep -qs still listener; do sleep .02; done; kill $!; cat listener
         $S --timeout .2 hi; echo $?; ipcs -m | grep -c \" 1024 \"; ipcrm --all=shm"
    );
    let script = format!(
        "unshare -p -f {CREATE} 0; unshare -p -f --mount-proc --kill-child sh -c '{inner}'"
    );
    let Some(finished) = run_in("-i", &scratch, &script) else { return };
    let text = finished.text();
    assert!(text.contains("was left behind: still listening\n"), "{finished:#?}");
    assert!(!text.contains("Received") && text.ends_with("\n1\n1\n"), "{finished:#?}");
    let reason = "because its creator cannot be seen from this PID namespace; ";
    assert!(finished.stderr.contains(reason), "{finished:#?}");
    assert!(!finished.stderr.contains("alive"), "{finished:#?}");
}

#[test]
fn a_sender_may_end_right_after_it_has_sent_the_signal() {
    for detaches in [false, true] {
        let scratch = Scratch::new();
        let listener = scratch.listen(&[]);
        // The signal waits until the sender has certainly ended.
        listener.stop();
        let (pid, key) = (listener.pid(), scratch.key());
        let send = || {
            let attached = Attached::new(create_segment(key, 1024, 0o600)?, 0)?;
            attached.write(0, &message_bytes(1, 5, b"quick"));
            mem::forget(Some(attached).filter(|_| !detaches));
            kill(pid, SIGUSR1)
        };
        drop(Helper::doing(send).unwrap());
        listener.go_on();
        assert_eq!(listener.finish_well(), received(pid, "quick"), "{detaches}");
        remove_segment(scratch.segment().id);
    }
}
